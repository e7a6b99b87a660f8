// The network's description (model.json) and the interface to the worker that runs it.

import { errorText } from "./dom.js";
import { toInput } from "./picture.js";

/** @typedef {import("./picture.js").Pixels} Pixels */
/** @typedef {"float32" | "int8"} Precision */
/** @typedef {{url: string, bytes: number}} File */

/**
 * The server's description of the network, in model.json.
 * @typedef {object} Model
 * @property {string} name
 * @property {string} architecture
 * @property {number | null} width
 * @property {string[]} classes
 * @property {[number, number]} size height and width of the input
 * @property {number} channels 1 or 3
 * @property {number[]} mean
 * @property {number[]} std
 * @property {{training: number | null, deployed: number | null} | null} params
 * @property {{training: number | null, deployed: number | null} | null} macs
 * @property {{float32: File | null, int8: File | null}} files
 * @property {{url: string, method?: string} | null} activation
 * @property {{vertical_first: string | null}} [resize] how `predict` here resizes
 * @property {string | null} trained_on
 * @property {{top1: number, correct: number, pictures: number} | null} test_top1
 * @property {{url: string, name: string}[]} pictures
 * @property {boolean} [drawn] whether they are the demo's own drawings, named after what they show
 * @property {{name: string, version: string} | null} runtime
 */

/** @type {Precision[]} */
const PRECISIONS = ["float32", "int8"];
const ACTIVATION = "activation";

/**
 * One network's answer: probabilities in the order of the classes, and the time of this one run.
 * @typedef {{probabilities: Float64Array, ms: number}} Answer
 *
 * @typedef {object} Answers
 * @property {{[precision in Precision]?: Answer}} of
 * @property {Maps | null} maps
 *
 * The signed share of each place of the last feature maps in each class: `K x height x width`.
 * @typedef {{data: Float32Array, height: number, width: number}} Maps
 */

/** @returns {Promise<Model>} */
export async function readModel() {
  /** @type {Response} */
  let answer;
  try {
    answer = await fetch("model.json");
  } catch {
    throw new Error("The server no longer answers. Start `ghostnet-small demo` again and reload.");
  }
  if (!answer.ok) {
    throw new Error(
      `The server has no model.json (answer ${answer.status}), so the page knows no network. ` +
        "Open the address that `ghostnet-small demo` printed.",
    );
  }
  return answer.json();
}

/** The networks of one model in their worker. */
export class Network {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    /** @type {Precision[]} */
    this.precisions = PRECISIONS.filter((name) => model.files[name]);
    const [height, width] = model.size;
    const tallFirst = Boolean(model.resize?.vertical_first);
    this.shape = { height, width, channels: model.channels, tallFirst };
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
    this.waiting = new Map();
    this.count = 0;
    this.worker.addEventListener("message", ({ data }) => {
      const waiting = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if ("error" in data) waiting?.reject(new Error(data.error));
      else waiting?.resolve(data.result);
    });
    this.worker.addEventListener("error", (event) => {
      event.preventDefault();
      const reason = event.message ? ` (${event.message})` : "";
      const error = new Error(
        `The part of the page that runs the network has stopped${reason}. Reload the page.`,
      );
      for (const { reject } of this.waiting.values()) reject(error);
      this.waiting.clear();
    });
  }

  /**
   * @param {object} message
   * @returns {Promise<any>}
   */
  ask(message) {
    const id = this.count++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, ...message });
    });
  }

  /** Loads the runtime and every file; no image is answered before. */
  async open() {
    const { files, activation } = this.model;
    /** @type {{[name: string]: string}} */
    const addresses = {};
    for (const name of this.precisions) addresses[name] = whole(/** @type {File} */ (files[name]).url);
    if (activation) addresses[ACTIVATION] = whole(activation.url);
    try {
      await this.ask({
        task: "open",
        runtime: whole("assets/"),
        files: addresses,
        shape: [1, this.shape.channels, this.shape.height, this.shape.width],
      });
    } catch (error) {
      throw new Error(`The network could not be started. ${errorText(error)}`);
    }
  }

  /**
   * @param {Pixels} pixels
   * @returns {Promise<Answers>}
   */
  async answer(pixels) {
    const names = [...this.precisions, ...(this.model.activation ? [ACTIVATION] : [])];
    const outputs = await this.ask({ task: "answer", names, input: this.input(pixels) });
    const seen = outputs[ACTIVATION];
    /** @type {Answers} */
    const answers = {
      of: {},
      maps: seen ? { data: seen.output, height: seen.dims[2], width: seen.dims[3] } : null,
    };
    for (const name of this.precisions) {
      const { output, ms } = outputs[name];
      answers.of[name] = { probabilities: softmax(output), ms };
    }
    return answers;
  }

  /**
   * Milliseconds a run, `samples` of them, each a mean of `repeats` runs.
   * @param {Precision} name
   * @param {Pixels} pixels
   * @param {number} samples
   * @param {number} repeats
   * @returns {Promise<number[]>}
   */
  time(name, pixels, samples, repeats) {
    return this.ask({ task: "time", name, input: this.input(pixels), samples, repeats });
  }

  /** @param {Pixels} pixels */
  input(pixels) {
    return toInput(pixels, this.model.mean, this.model.std);
  }
}

/** @param {string} address relative to the page */
function whole(address) {
  return new URL(address, document.baseURI).href;
}

/** @param {Float32Array} logits @returns {Float64Array} */
function softmax(logits) {
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = Float64Array.from(logits, (logit) => Math.exp(logit - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}
