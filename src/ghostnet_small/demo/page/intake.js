// The ways a file comes: dropped, pasted, chosen, photographed, or one of the examples; and the
// tabs between files, the drawing board and the camera.

import { find, findAs, make } from "./dom.js";
import { PictureError } from "./picture.js";

const TABS = ["file", "draw", "camera"];

/** Tabs that follow the arrow keys. */
export class Tabs {
  /** @param {(name: string) => void} chosen called with the tab's name after every change */
  constructor(chosen) {
    this.chosen = chosen;
    this.current = TABS[0];
    for (const [place, name] of TABS.entries()) {
      const tab = find(`tab-${name}`);
      tab.addEventListener("click", () => this.choose(name));
      tab.addEventListener("keydown", (event) => {
        const steps = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: TABS.length - 1 };
        const to = steps[/** @type {keyof typeof steps} */ (event.key)];
        if (to === undefined) return;
        event.preventDefault();
        const next = TABS[(to + TABS.length) % TABS.length];
        this.choose(next);
        find(`tab-${next}`).focus();
      });
    }
  }

  /** @param {string} name */
  choose(name) {
    if (name === this.current) return;
    this.current = name;
    for (const one of TABS) {
      const tab = find(`tab-${one}`);
      tab.setAttribute("aria-selected", String(one === name));
      tab.tabIndex = one === name ? 0 : -1;
      find(`panel-${one}`).hidden = one !== name;
    }
    this.chosen(name);
  }
}

/**
 * @param {(file: Blob, name: string) => void} take
 * @param {(error: unknown) => void} fail
 */
export function listenForFiles(take, fail) {
  for (const [button, input] of [
    ["choose", findAs("file", HTMLInputElement)],
    ["shoot", findAs("photo", HTMLInputElement)],
  ]) {
    const field = /** @type {HTMLInputElement} */ (input);
    find(/** @type {string} */ (button)).addEventListener("click", () => field.click());
    field.addEventListener("change", () => {
      const file = field.files?.[0];
      if (file) take(file, file.name);
      field.value = ""; // so that the same file can be chosen again
    });
  }
  // On a desk, "take a photo" would open the same chooser again.
  find("shoot").hidden = !matchMedia("(pointer: coarse)").matches;
  listenForDrops(take, fail);
  listenForPastes(take, fail);
}

/**
 * @param {(file: Blob, name: string) => void} take
 * @param {(error: unknown) => void} fail
 */
function listenForDrops(take, fail) {
  const veil = find("veil");
  addEventListener("dragover", (event) => {
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = "copy";
    veil.classList.add("shown");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) veil.classList.remove("shown");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    veil.classList.remove("shown");
    const file = event.dataTransfer?.files[0];
    if (file) take(file, file.name);
    else {
      fail(
        new PictureError(
          "That was no file. This page opens no other address, so save the image first, then " +
            "drop the file.",
        ),
      );
    }
  });
}

/**
 * @param {(file: Blob, name: string) => void} take
 * @param {(error: unknown) => void} fail
 */
function listenForPastes(take, fail) {
  const none = new PictureError("There is no image in the clipboard. Copy one, then paste again.");
  addEventListener("paste", (event) => {
    event.preventDefault();
    const file = event.clipboardData?.files[0];
    if (file) take(file, "The pasted image");
    else fail(none);
  });
  const button = find("paste");
  button.hidden = !navigator.clipboard?.read;
  button.addEventListener("click", async () => {
    try {
      for (const item of await navigator.clipboard.read()) {
        const type = item.types.find((one) => one.startsWith("image/"));
        if (type) {
          take(await item.getType(type), "The pasted image");
          return;
        }
      }
      fail(none);
    } catch {
      fail(new PictureError("The browser does not give this page the clipboard. Press Ctrl+V instead."));
    }
  });
}

/**
 * Buttons of the images that the server offers.
 * @param {import("./network.js").Model} model
 * @param {(file: Blob, name: string) => void} take
 * @param {(error: unknown) => void} fail
 */
export function showExamples({ pictures, drawn, classes }, take, fail) {
  find("examples").hidden = pictures.length === 0;
  if (drawn) {
    const known = pictures.some(({ name }) => classes.includes(name));
    find("examples-title").textContent = known
      ? "Examples: drawings of what it knows"
      : "Examples: drawings of what it does not know";
  }
  for (const { url, name } of pictures) {
    const text = drawn ? `Drawing: ${name}` : name;
    const image = make("img", { src: url, alt: text, width: "48", height: "48" });
    const button = make("button", { type: "button", title: text }, image);
    button.addEventListener("click", async () => {
      try {
        const answer = await fetch(url);
        if (!answer.ok) throw new Error(`The server answered ${answer.status} for ${name}.`);
        take(await answer.blob(), text);
      } catch (error) {
        fail(error);
      }
    });
    find("example-list").append(make("li", {}, button));
  }
}
