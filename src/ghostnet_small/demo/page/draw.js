// The drawing board: by mouse, touch, pen or keyboard.

import { context2d, find, findAs, make } from "./dom.js";

const COLOURS = [
  ["black", "#000000"],
  ["grey", "#808080"],
  ["white", "#ffffff"],
  ["brown", "#7a4a21"],
  ["red", "#d62828"],
  ["orange", "#f08c1e"],
  ["yellow", "#f5d90a"],
  ["green", "#2f8f3a"],
  ["sky blue", "#7ec3ee"],
  ["blue", "#1f4fbf"],
];
const GREYS = [
  ["white", "#ffffff"],
  ["light grey", "#c0c0c0"],
  ["grey", "#808080"],
  ["dark grey", "#404040"],
  ["black", "#000000"],
];
const MOST_UNDO = 40;
const STEP = 8; // pixels of the board a press of an arrow key
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** A canvas to draw on; calls back whenever what is drawn has changed. */
export class Board {
  /**
   * @param {import("./picture.js").Shape} shape of the network's input
   * @param {(board: HTMLCanvasElement, done: boolean) => void} changed `done` once a line is ended
   */
  constructor(shape, changed) {
    this.canvas = findAs("board", HTMLCanvasElement);
    this.changed = changed;
    this.context = context2d(this.canvas);
    this.canvas.height = Math.round((this.canvas.width * shape.height) / shape.width);
    // Grey sets such as Fashion-MNIST show white things on black.
    this.grey = shape.channels === 1;
    this.paper = this.grey ? "#000000" : "#ffffff";
    this.colour = this.grey ? "#ffffff" : "#000000";
    /** @type {ImageData[]} */
    this.before = [];
    /** @type {{x: number, y: number} | null} */
    this.last = null;
    this.pen = { x: this.canvas.width / 2, y: this.canvas.height / 2, down: false };
    this.cursor = make("span", { class: "cursor", "aria-hidden": "true" });
    this.cursor.hidden = true;
    this.canvas.after(this.cursor);
    this.wipe(this.paper);
    this.swatches(this.grey ? GREYS : COLOURS);
    this.listen();
  }

  get brush() {
    const chosen = document.querySelector("input[name=brush]:checked");
    return chosen instanceof HTMLInputElement ? Number(chosen.value) : STEP;
  }

  /** @param {string[][]} colours */
  swatches(colours) {
    const choose = (/** @type {string} */ value) => (this.colour = value);
    for (const [name, value] of colours) {
      const input = make("input", { type: "radio", name: "colour", value, "aria-label": name });
      input.checked = value === this.colour;
      input.addEventListener("change", () => choose(value));
      const patch = make("span", { class: "patch" });
      patch.style.backgroundColor = value;
      find("colours").append(make("label", { title: name }, input, patch));
    }
    if (this.grey) return;
    const own = make("input", { type: "color", "aria-label": "Another colour", value: "#8e44ad" });
    own.addEventListener("input", () => {
      for (const input of find("colours").querySelectorAll("input")) input.checked = false;
      choose(own.value);
    });
    find("colours").append(own);
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || this.last) return;
      event.preventDefault();
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      this.remember();
      this.last = this.place(event);
      this.line(this.last, this.last);
      this.changed(canvas, false);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.last || !canvas.hasPointerCapture(event.pointerId)) return;
      const passed = event.getCoalescedEvents?.() ?? [];
      for (const one of passed.length ? passed : [event]) {
        const place = this.place(one);
        this.line(this.last, place);
        this.last = place;
      }
      this.changed(canvas, false);
    });
    const end = () => {
      if (!this.last) return;
      this.last = null;
      this.changed(canvas, true);
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("focus", () => {
      this.cursor.hidden = !canvas.matches(":focus-visible");
      this.moveCursor();
    });
    canvas.addEventListener("blur", () => {
      this.cursor.hidden = true;
      this.pen.down = false;
    });
    find("undo").addEventListener("click", () => this.undo());
    find("clear").addEventListener("click", () => this.whole(this.paper, "The board is empty."));
    find("fill").addEventListener("click", () => this.whole(this.colour, "The board is filled."));
  }

  /** @param {PointerEvent} event */
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * this.canvas.width,
      y: ((event.clientY - box.top) / box.height) * this.canvas.height,
    };
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.undo();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const move = MOVES[/** @type {keyof typeof MOVES} */ (event.key)];
    if (!move && event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    this.cursor.hidden = false;
    if (event.key === "Enter") {
      if (event.repeat) return;
      this.pen.down = !this.pen.down;
      this.tell(this.pen.down ? "Pen down" : "Pen up");
      if (this.pen.down) this.stroke(this.pen, this.pen);
    } else if (event.key === " ") {
      this.stroke(this.pen, this.pen);
      this.tell("Painted");
    } else {
      const step = event.shiftKey ? 5 * STEP : STEP;
      const from = { x: this.pen.x, y: this.pen.y };
      this.pen.x = Math.min(Math.max(from.x + move[0] * step, 0), this.canvas.width);
      this.pen.y = Math.min(Math.max(from.y + move[1] * step, 0), this.canvas.height);
      if (this.pen.down) this.stroke(from, this.pen);
    }
    this.moveCursor();
  }

  /** @param {string} what */
  tell(what) {
    const share = (/** @type {number} */ part, /** @type {number} */ all) =>
      Math.round((100 * part) / all);
    const across = share(this.pen.x, this.canvas.width);
    const down = share(this.pen.y, this.canvas.height);
    find("board-state").textContent = `${what} at ${across} % from the left, ${down} % from the top.`;
  }

  moveCursor() {
    this.cursor.style.insetInlineStart = `${(100 * this.pen.x) / this.canvas.width}%`;
    this.cursor.style.insetBlockStart = `${(100 * this.pen.y) / this.canvas.height}%`;
    this.cursor.classList.toggle("down", this.pen.down);
  }

  /**
   * @param {{x: number, y: number}} from
   * @param {{x: number, y: number}} to
   */
  stroke(from, to) {
    this.remember();
    this.line(from, to);
    this.changed(this.canvas, true);
  }

  /**
   * @param {{x: number, y: number}} from
   * @param {{x: number, y: number}} to
   */
  line(from, to) {
    const { context } = this;
    context.strokeStyle = this.colour;
    context.lineWidth = this.brush;
    context.lineCap = "round";
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x, to.y);
    context.stroke();
    // A canvas draws no line of length 0, and so no dot.
    context.fillStyle = this.colour;
    context.beginPath();
    context.arc(to.x, to.y, this.brush / 2, 0, 2 * Math.PI);
    context.fill();
  }

  /**
   * @param {string} colour
   * @param {string} text
   */
  whole(colour, text) {
    this.remember();
    this.wipe(colour);
    find("board-state").textContent = text;
    this.changed(this.canvas, true);
  }

  /** @param {string} colour */
  wipe(colour) {
    this.context.fillStyle = colour;
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }

  remember() {
    this.before.push(this.context.getImageData(0, 0, this.canvas.width, this.canvas.height));
    if (this.before.length > MOST_UNDO) this.before.shift();
    findAs("undo", HTMLButtonElement).disabled = false;
  }

  undo() {
    const image = this.before.pop();
    if (!image) return;
    this.context.putImageData(image, 0, 0);
    const button = findAs("undo", HTMLButtonElement);
    // A button that is disabled under the finger would lose the keyboard's place.
    if (!this.before.length && document.activeElement === button) this.canvas.focus();
    button.disabled = !this.before.length;
    find("board-state").textContent = "Undone.";
    this.changed(this.canvas, true);
  }
}
