// The course of the page: the description, then the network, then one image after the other.

import { AnswerTable } from "./answer.js";
import { Camera } from "./camera.js";
import { errorText, find, findAs, make } from "./dom.js";
import { Board } from "./draw.js";
import { showAbout, showFacts, showFoot, showLimits, showSizes } from "./facts.js";
import { Tabs, listenForFiles, showExamples } from "./intake.js";
import { Look } from "./look.js";
import { Network, readModel } from "./network.js";
import { PictureError, decode, toPixels } from "./picture.js";
import { Timing } from "./timing.js";

/** @typedef {import("./picture.js").Pixels} Pixels */

const TINY = 128;

/** @param {unknown} error */
function fail(error) {
  const box = find("failure");
  const close = make("button", { type: "button" }, "Close");
  close.addEventListener("click", () => (box.hidden = true));
  box.replaceChildren(make("p", {}, errorText(error)), ...(error instanceof PictureError ? [close] : []));
  box.hidden = false;
}

/** Everything that follows once the network's description is there. */
class Page {
  /** @param {import("./network.js").Model} model */
  constructor(model) {
    this.model = model;
    this.network = new Network(model);
    this.table = new AnswerTable(this.network);
    this.look = new Look(this.network);
    this.timing = new Timing(this.network);
    this.opened = this.network.open();
    /** Counts what was asked for, so that an answer that comes late is not shown. */
    this.asked = 0;
    this.preview = "";
    this.sized = false;
    this.drawn = false;
    const { shape } = this.network;
    this.board = new Board(shape, (board, done) => this.sketch(board, done));
    this.camera = new Camera(shape, (video, area, live) => {
      if (live) this.timing.cancel();
      this.size(null);
      return this.answer(toPixels(video, area, shape), live);
    });
    this.tabs = new Tabs((name) => name === "camera" || this.camera.stop());
    const take = (/** @type {Blob} */ file, /** @type {string} */ name) => this.takeFile(file, name);
    listenForFiles(take, fail);
    showExamples(model, take, fail);
    document.body.dataset.known = "true";
  }

  async open() {
    await this.opened;
    if (!this.asked) find("agreement").textContent = "Give it an image.";
    document.body.dataset.ready = "true";
  }

  /**
   * @param {Blob} file
   * @param {string} name
   */
  async takeFile(file, name) {
    this.tabs.choose("file");
    find("failure").hidden = true;
    const turn = ++this.asked;
    try {
      const bitmap = await decode(file, name);
      if (turn !== this.asked) return bitmap.close();
      const { width, height } = bitmap;
      const start = performance.now();
      const pixels = toPixels(bitmap, { left: 0, top: 0, width, height }, this.network.shape);
      const ms = performance.now() - start;
      bitmap.close();
      this.showPreview(file, name, Math.max(width, height) < TINY);
      find("given").textContent =
        `${name}, ${width} × ${height} pixels; resizing took ${ms.toFixed(ms < 10 ? 1 : 0)} ms.`;
      this.size({ name, bytes: file.size });
      await this.answer(pixels, false);
    } catch (error) {
      fail(error);
    }
  }

  /**
   * @param {Blob} file
   * @param {string} name
   * @param {boolean} tiny whether it is shown much larger than it is
   */
  showPreview(file, name, tiny) {
    const image = findAs("preview", HTMLImageElement);
    if (this.preview) URL.revokeObjectURL(this.preview);
    this.preview = URL.createObjectURL(file);
    image.src = this.preview;
    image.alt = `The image that was given: ${name}`;
    image.classList.toggle("tiny", tiny);
    image.hidden = false;
    find("invite").hidden = true;
  }

  /** @param {{name: string, bytes: number} | null} file null for what has none */
  size(file) {
    if (!file && !this.sized) return;
    this.sized = Boolean(file);
    showSizes(this.model, file);
  }

  /**
   * While a line is drawn, the last state that the network has time for.
   * @param {HTMLCanvasElement} board
   * @param {boolean} done
   */
  async sketch(board, done) {
    if (this.drawn && !done) return;
    this.drawn = true;
    const { width, height } = board;
    const pixels = toPixels(board, { left: 0, top: 0, width, height }, this.network.shape);
    this.size(null);
    await this.answer(pixels, !done);
    this.drawn = false;
  }

  /**
   * @param {Pixels} pixels
   * @param {boolean} live whether others follow within a moment
   */
  async answer(pixels, live) {
    const turn = ++this.asked;
    try {
      await this.opened;
      const answers = await this.network.answer(pixels);
      if (turn !== this.asked) return;
      this.table.show(answers, live);
      const likeliest = this.table.winner(this.network.precisions[0]) ?? 0;
      this.look.show(pixels, answers.maps, likeliest);
      document.body.dataset.answered = String(Number(document.body.dataset.answered ?? 0) + 1);
      if (!live) this.timing.offer(pixels);
    } catch (error) {
      this.camera.stop();
      fail(error);
    }
  }
}

async function start() {
  try {
    const model = await readModel();
    showAbout(model);
    showSizes(model, null);
    showFacts(model);
    showLimits(model);
    showFoot(model);
    await new Page(model).open();
  } catch (error) {
    find("agreement").textContent = "There is no network to ask.";
    fail(error);
  }
}

start();
