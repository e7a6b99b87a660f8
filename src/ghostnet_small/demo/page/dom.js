// Finding and making elements, and numbers as the page writes them.

/**
 * The element with this id, which index.html must hold.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function find(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no element "${id}"`);
  return element;
}

/**
 * @template {new (...args: any[]) => HTMLElement} T
 * @param {string} id
 * @param {T} type what the element must be
 * @returns {InstanceType<T>}
 */
export function findAs(id, type) {
  const element = find(id);
  if (!(element instanceof type)) throw new Error(`element "${id}" is no ${type.name}`);
  return /** @type {InstanceType<T>} */ (element);
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {{[name: string]: string}} attributes
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/**
 * The 2D context of a canvas whose pixels are read back.
 * @param {HTMLCanvasElement} canvas
 * @returns {CanvasRenderingContext2D}
 */
export function context2d(canvas) {
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  if (!context) throw new Error("This browser gives no 2D canvas, which the page needs.");
  return context;
}

/** @param {unknown} error @returns {string} */
export function errorText(error) {
  return error instanceof Error ? error.message : String(error);
}

/** @param {number} value @param {number} [digits] @returns {string} */
export function grouped(value, digits = 0) {
  return value.toLocaleString("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

/**
 * A probability in percent; never "0.0 %" or "100.0 %", which no softmax means.
 * @param {number} probability
 * @returns {string}
 */
export function percent(probability) {
  if (probability >= 0.9995) return ">\u202f99.9\u00a0%";
  if (probability < 0.0005) return "<\u202f0.1\u00a0%";
  return `${(100 * probability).toFixed(1)}\u00a0%`;
}

/** @param {number} bytes @returns {string} three digits that count */
export function sizeText(bytes) {
  if (bytes < 1000) return `${bytes}\u00a0bytes`;
  const [value, unit] = bytes < 1e6 ? [bytes / 1e3, "kB"] : [bytes / 1e6, "MB"];
  return `${value.toLocaleString("en", { maximumSignificantDigits: 3 })}\u00a0${unit}`;
}

/** @param {number} ms @returns {string} */
export function timeText(ms) {
  return `${ms < 100 ? ms.toFixed(1) : grouped(ms)}\u00a0ms`;
}

/** @param {number} count of parameters or of multiply-adds @returns {string} */
export function countText(count) {
  if (count < 1e6) return grouped(count);
  return `${grouped(count / 1e6, 2)}\u00a0million`;
}

/**
 * "a, b and c".
 * @param {string[]} words
 * @returns {string}
 */
export function listText(words) {
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}`;
}
