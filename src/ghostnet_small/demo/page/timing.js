// The time of the network for an image in this browser: the median of many runs.

import { errorText, find, findAs, make, timeText } from "./dom.js";

/** @typedef {import("./network.js").Network} Network */
/** @typedef {import("./network.js").Precision} Precision */
/** @typedef {import("./picture.js").Pixels} Pixels */

const WARM_UP = 5;
const ROUNDS = 7;
const SAMPLES = 3; // of each precision in a round
// Browsers tell the time in steps of up to a millisecond, so that a sample must be some of those.
const LEAST_MS = 10;

/** The times, measured whenever the page has nothing else to do. */
export class Timing {
  /** @param {Network} network */
  constructor(network) {
    this.network = network;
    /** @type {Pixels | null} */
    this.pixels = null;
    this.running = false;
    /** Turned by whoever needs the worker for itself. */
    this.cancelled = false;
    const button = findAs("measure", HTMLButtonElement);
    button.addEventListener("click", () => this.measure());
    for (const name of network.precisions) {
      const number = make("dd", { id: `time-${name}` }, "–");
      find("times").append(make("div", {}, make("dt", { class: name }, name), number));
    }
    find("time-text").textContent = "Measured once there is an image.";
  }

  /**
   * Measures with the first image; later only when asked.
   * @param {Pixels} pixels
   */
  offer(pixels) {
    const first = this.pixels === null;
    this.pixels = pixels;
    if (first) this.measure();
  }

  cancel() {
    this.cancelled = true;
  }

  async measure() {
    const { pixels, network } = this;
    const button = findAs("measure", HTMLButtonElement);
    if (!pixels || this.running) return;
    this.running = true;
    this.cancelled = false;
    button.setAttribute("aria-disabled", "true");
    find("time-text").textContent = "Measuring …";
    try {
      /** @type {Map<Precision, {repeats: number, times: number[]}>} */
      const found = new Map();
      for (const name of network.precisions) {
        const [ms] = await network.time(name, pixels, 1, WARM_UP);
        const repeats = Math.min(Math.max(Math.ceil(LEAST_MS / Math.max(ms, 0.01)), 1), 100);
        found.set(name, { repeats, times: [] });
      }
      // In turns, so that a busy moment of the machine meets both.
      for (let round = 0; round < ROUNDS && !this.cancelled; round++) {
        for (const [name, { repeats, times }] of found) {
          times.push(...(await network.time(name, pixels, SAMPLES, repeats)));
        }
      }
      if (this.cancelled) find("time-text").textContent = "Stopped while the camera runs.";
      else this.show(found);
    } catch (error) {
      find("time-text").textContent = `Could not be measured: ${errorText(error)}`;
    } finally {
      this.running = false;
      button.disabled = false;
      button.removeAttribute("aria-disabled");
    }
  }

  /** @param {Map<Precision, {repeats: number, times: number[]}>} found */
  show(found) {
    for (const [name, { times }] of found) {
      const [low, middle, high] = [0.1, 0.5, 0.9].map((part) => quantile(times, part));
      const range = make("small", {}, `${timeText(low)} to ${timeText(high)}`);
      find(`time-${name}`).replaceChildren(timeText(middle), range);
    }
    const counts = [...found].map(([name, { repeats }]) => `${repeats} (${name})`);
    const same = new Set([...found.values()].map(({ repeats }) => repeats)).size === 1;
    const each = same ? [...found.values()][0].repeats : counts.join(" or ");
    const { runtime } = this.network.model;
    const name = runtime ? `${runtime.name} ${runtime.version}` : "onnxruntime-web";
    find("time-text").textContent =
      `Median of ${ROUNDS * SAMPLES} samples, each the mean of ${each} runs, and the range of the ` +
      `middle 80 %. Only the network, by ${name} on one thread of this browser on this machine; ` +
      "elsewhere the time differs.";
  }
}

/**
 * @param {number[]} values
 * @param {number} part from 0 to 1
 */
function quantile(values, part) {
  const sorted = [...values].sort((a, b) => a - b);
  const place = part * (sorted.length - 1);
  const low = Math.floor(place);
  const high = Math.ceil(place);
  return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
}
