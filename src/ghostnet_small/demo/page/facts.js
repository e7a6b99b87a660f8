// What is known of the network, how large it is, and what it cannot know.

import { countText, find, grouped, listText, make, sizeText } from "./dom.js";

/** @typedef {import("./network.js").Model} Model */

// Twelve million pixels of three bytes.
const PHOTOGRAPH = 12e6 * 3;
const MANY_CLASSES = 20;

/** @param {Model} model */
export function showAbout(model) {
  const kinds =
    model.classes.length <= MANY_CLASSES
      ? `one of ${model.classes.length} things: ${listText(model.classes)}`
      : `one of ${grouped(model.classes.length)} things`;
  const params = model.params?.deployed;
  const size = params ? ` of ${countText(params)} parameters` : "";
  find("about").textContent =
    `An image classifier${size} that runs in this browser and calls every image ${kinds}.`;
}

/**
 * The files as bars beside a photograph's, to one scale.
 * @param {Model} model
 * @param {{name: string, bytes: number} | null} picture the file that was given
 */
export function showSizes(model, picture) {
  /** @type {[string, number | null, string][]} */
  const rows = [];
  for (const precision of /** @type {const} */ (["float32", "int8"])) {
    const file = model.files[precision];
    if (file) rows.push([`Network, ${precision}`, file.bytes, precision]);
  }
  rows.push([picture ? `This image’s file, ${picture.name}` : "The file of your image",
    picture?.bytes ?? null, "given"]);
  rows.push(["A photograph of 12 megapixels, uncompressed", PHOTOGRAPH, "photograph"]);
  const most = Math.max(...rows.map(([, bytes]) => bytes ?? 0));
  const parts = rows.map(([label, bytes, kind]) => {
    const fill = make("span", { class: `fill ${kind}` });
    fill.style.inlineSize = `${(100 * (bytes ?? 0)) / most}%`;
    const bar = make("span", { class: "bar", "aria-hidden": "true" });
    if (bytes !== null) bar.append(fill);
    const number = make("span", { class: "value" }, bytes === null ? "–" : sizeText(bytes));
    const row = make("div", {}, make("dt", {}, label), make("dd", {}, number, bar));
    if (bytes !== null) row.dataset.bytes = String(bytes);
    return row;
  });
  find("sizes").replaceChildren(...parts);
}

/** @param {Model} model */
export function showFacts(model) {
  /** @type {[string, string][]} */
  const facts = [["Network", `${model.architecture}${model.width ? `, width ${model.width.toFixed(1)}` : ""}`]];
  for (const [label, counts] of /** @type {const} */ ([
    ["Parameters", model.params],
    ["Multiply-adds", model.macs],
  ])) {
    if (counts?.deployed) facts.push([label, countText(counts.deployed)]);
    if (counts?.training && counts.training !== counts.deployed) {
      facts.push([`${label}, while training`, countText(counts.training)]);
    }
  }
  const items = facts.map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, value)),
  );
  find("facts").append(...items);
}

/** @param {Model} model */
export function showLimits(model) {
  const { classes, size, test_top1: test } = model;
  const count = grouped(classes.length);
  const source = model.trained_on ? `on ${model.trained_on}, ` : "";
  const limits = [
    `It knows ${count} classes and nothing else. An image of anything else gets one of them too, ` +
      "often with confidence.",
    "A probability is the network's share of certainty for a class. It is not the chance " +
      "that it is right: wrong answers come with 99 % as well.",
    `It was trained ${source}at ${size[1]} × ${size[0]} pixels. Details that do not survive at ` +
      "that size it has never seen.",
    test
      ? `Of ${grouped(test.pictures)} test images it classified ${grouped(test.correct)} correctly ` +
        `(${test.top1.toFixed(2)} %)${oneIn(test)}. Your images may be harder than those.`
      : "Its test accuracy is not recorded in this file.",
  ];
  find("limits").append(...limits.map((text) => make("li", {}, text)));
  const list = make("ul", { class: "names" }, ...classes.map((name) => make("li", {}, name)));
  if (classes.length <= MANY_CLASSES) {
    find("known").append(make("h3", {}, `All that it can answer`), list);
  } else {
    find("known").append(make("details", {}, make("summary", {}, `All ${count} classes`), list));
  }
}

/** @param {{correct: number, pictures: number}} test */
function oneIn({ correct, pictures }) {
  const wrong = pictures - correct;
  return wrong ? `: about one in ${grouped(pictures / wrong)} was wrong` : "";
}

/** @param {Model} model */
export function showFoot(model) {
  const runtime = model.runtime ? `, run by ${model.runtime.name} ${model.runtime.version}` : "";
  find("foot").append(` Model: ${model.name}${runtime}.`);
}
