// The image as the network sees it, and how much each place speaks for a class.

import { context2d, find, findAs, make } from "./dom.js";
import { toImageData } from "./picture.js";

/** @typedef {import("./picture.js").Pixels} Pixels */
/** @typedef {import("./network.js").Maps} Maps */
/** @typedef {import("./network.js").Network} Network */

// From little to much; over the image in grey, the more the less it shines through.
const RAMP = [
  [59, 15, 112],
  [183, 55, 121],
  [252, 137, 97],
  [252, 253, 191],
];
const ROWS = ["top", "middle", "bottom"];
const COLUMNS = ["left", "centre", "right"];

/** The two images and the choice of a class. */
export class Look {
  /** @param {Network} network */
  constructor(network) {
    this.network = network;
    this.classes = network.model.classes;
    this.select = findAs("looked-class", HTMLSelectElement);
    /** @type {{pixels: Pixels, maps: Maps | null, likeliest: number} | null} */
    this.last = null;
    this.select.append(make("option", { value: "" }, "The likeliest"));
    for (const [place, name] of this.classes.entries()) {
      this.select.append(make("option", { value: String(place) }, name));
    }
    this.select.addEventListener("change", () => this.draw());
    const { height, width } = network.shape;
    for (const id of ["seen", "looked"]) {
      const canvas = findAs(id, HTMLCanvasElement);
      [canvas.width, canvas.height] = [width, height];
      canvas.style.aspectRatio = `${width} / ${height}`;
    }
    const colour = network.shape.channels === 1 ? "grey" : "colour";
    find("seen-text").textContent =
      `${width} × ${height} pixels in ${colour}: all that it is given. The sides are squeezed to ` +
      "fit, as predict does.";
    if (network.model.activation) this.legend();
    else this.without();
  }

  /**
   * @param {Pixels} pixels
   * @param {Maps | null} maps
   * @param {number} likeliest class
   */
  show(pixels, maps, likeliest) {
    this.last = { pixels, maps, likeliest };
    const canvas = findAs("seen", HTMLCanvasElement);
    context2d(canvas).putImageData(toImageData(pixels), 0, 0);
    canvas.setAttribute(
      "aria-label",
      `The image at ${pixels.width} by ${pixels.height} pixels, as the network sees it`,
    );
    this.draw();
  }

  draw() {
    if (!this.last?.maps) return;
    const { pixels, maps, likeliest } = this.last;
    const place = this.select.value === "" ? likeliest : Number(this.select.value);
    const size = maps.height * maps.width;
    const map = maps.data.subarray(place * size, (place + 1) * size);
    const most = map.reduce((a, b) => Math.max(a, b), 0);
    const scaled = Float64Array.from(map, (value) => (most > 0 ? Math.max(value, 0) / most : 0));
    const image = toImageData(pixels);
    overlay(image, enlarge(scaled, maps, pixels));
    const canvas = findAs("looked", HTMLCanvasElement);
    context2d(canvas).putImageData(image, 0, 0);
    const name = this.classes[place];
    const where = most > 0 ? describe(scaled, maps) : null;
    const text = where
      ? `What speaks for ${name} is ${where}.`
      : `Nothing in this image speaks for ${name}.`;
    canvas.setAttribute("aria-label", `Map of the class ${name}. ${text}`);
    find("looked-text").textContent =
      `${text} An estimate of ${maps.width} × ${maps.height} places, smoothed and scaled to its own ` +
      "largest value.";
  }

  legend() {
    const ramp = findAs("ramp", HTMLCanvasElement);
    const context = context2d(ramp);
    const image = context.createImageData(ramp.width, 1);
    image.data.fill(128);
    overlay(image, Float64Array.from({ length: ramp.width }, (_, i) => i / (ramp.width - 1)));
    context.putImageData(image, 0, 0);
    const method = this.network.model.activation?.method ?? "Class activation";
    find("looked-text").textContent = `${method}: the places that speak for a class.`;
  }

  without() {
    find("looked-tools").hidden = true;
    find("looked").setAttribute("aria-label", "There is no map for this network");
    find("looked-text").textContent =
      "This file has no maps of its own. Give the demo the network’s weights, and it makes them.";
  }
}

/**
 * Lays `values` (from 0 to 1, one a pixel) over `image`, which turns grey.
 * @param {ImageData} image
 * @param {Float64Array} values
 */
function overlay(image, values) {
  const { data } = image;
  for (const [place, value] of values.entries()) {
    const start = 4 * place;
    const grey = 0.299 * data[start] + 0.587 * data[start + 1] + 0.114 * data[start + 2];
    const base = 0.8 * grey + 16;
    const position = value * (RAMP.length - 1);
    const step = Math.min(Math.trunc(position), RAMP.length - 2);
    const alpha = 0.85 * Math.sqrt(value);
    for (let channel = 0; channel < 3; channel++) {
      const low = RAMP[step][channel];
      const colour = low + (RAMP[step + 1][channel] - low) * (position - step);
      data[start + channel] = base + (colour - base) * alpha;
    }
    data[start + 3] = 255;
  }
}

/**
 * `values` at every pixel, linear between the middles of the map's places.
 * @param {Float64Array} values
 * @param {{height: number, width: number}} from
 * @param {{height: number, width: number}} to
 * @returns {Float64Array}
 */
function enlarge(values, from, to) {
  const target = new Float64Array(to.height * to.width);
  const between = (/** @type {number} */ place, /** @type {number} */ a, /** @type {number} */ b) => {
    const found = Math.min(Math.max(((place + 0.5) * a) / b - 0.5, 0), a - 1);
    const low = Math.min(Math.trunc(found), a - 1);
    return { low, high: Math.min(low + 1, a - 1), part: found - low };
  };
  for (let row = 0; row < to.height; row++) {
    const y = between(row, from.height, to.height);
    for (let column = 0; column < to.width; column++) {
      const x = between(column, from.width, to.width);
      const at = (/** @type {number} */ r) =>
        values[r * from.width + x.low] * (1 - x.part) + values[r * from.width + x.high] * x.part;
      target[row * to.width + column] = at(y.low) * (1 - y.part) + at(y.high) * y.part;
    }
  }
  return target;
}

/**
 * The place where the map is strongest, in words, and how much of it is above half.
 * @param {Float64Array} scaled largest value 1
 * @param {{height: number, width: number}} size
 */
function describe(scaled, { height, width }) {
  const peak = scaled.indexOf(1);
  const row = ROWS[Math.trunc(((Math.trunc(peak / width) + 0.5) / height) * 3)];
  const column = COLUMNS[Math.trunc((((peak % width) + 0.5) / width) * 3)];
  const share = scaled.filter((value) => value >= 0.5).length / scaled.length;
  const spot = row === "middle" && column === "centre" ? "in the middle" : `at the ${row} ${column}`;
  return `strongest ${spot}; ${Math.round(100 * share)} % of the map is above half of that`;
}
