// The camera: one image, or one after the other until it is stopped.

import { errorText, find, findAs } from "./dom.js";
import { middle } from "./picture.js";

/** @typedef {import("./picture.js").Area} Area */

const RATE_MS = 1000;
// Faster, the answers cannot be read, and a phone gets warm.
const LEAST_MS = 125;
const IDLE =
  "Only the square in the middle is taken. The camera stops when this tab is left or the page is " +
  "hidden.";

/** What a refusal of the browser means. @type {{[name: string]: string}} */
const REFUSALS = {
  NotAllowedError:
    "The browser does not give this page the camera. Allow it beside the address, then start " +
    "again.",
  NotFoundError: "This machine has no camera that the browser knows of.",
  NotReadableError: "The camera is in use by another program. End that, then start again.",
};

/** The camera's panel. */
export class Camera {
  /**
   * @param {import("./picture.js").Shape} shape of the network's input
   * @param {(video: HTMLVideoElement, area: Area, live: boolean) => Promise<void>} take
   *   answers a frame; settled once the answer is shown
   */
  constructor(shape, take) {
    this.shape = shape;
    this.take = take;
    this.video = findAs("video", HTMLVideoElement);
    /** @type {MediaStream | null} */
    this.stream = null;
    this.live = false;
    this.facing = "environment";
    this.starts = 0;
    find("camera-start").addEventListener("click", () => this.start());
    find("camera-stop").addEventListener("click", () => {
      this.stop();
      find("camera-start").focus();
    });
    find("camera-take").addEventListener("click", () => this.still());
    find("camera-live").addEventListener("click", () => this.toggle());
    find("camera-turn").addEventListener("click", () => {
      this.facing = this.facing === "environment" ? "user" : "environment";
      this.start();
    });
    document.addEventListener("visibilitychange", () => document.hidden && this.stop());
    addEventListener("pagehide", () => this.stop());
  }

  async start() {
    const live = this.live;
    this.stop();
    const start = ++this.starts;
    if (!navigator.mediaDevices?.getUserMedia) {
      this.say(
        isSecureContext
          ? "This browser has no camera to offer. Choose a file instead."
          : "Browsers give the camera only to pages of this machine (localhost) or over https, and " +
              "this page came by plain http from another. “Take a photo” in the File tab works on " +
              "phones.",
      );
      return;
    }
    this.say("The browser is asking for the camera …");
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: this.facing, width: { ideal: 640 }, height: { ideal: 480 } },
      });
      if (start !== this.starts || document.hidden) {
        for (const track of stream.getTracks()) track.stop();
        return;
      }
      this.stream = stream;
      for (const track of stream.getTracks()) track.addEventListener("ended", () => this.stop());
      this.video.srcObject = stream;
      await this.video.play();
    } catch (error) {
      const stopped = start !== this.starts;
      if (stopped) return;
      this.stop();
      const name = error instanceof DOMException ? error.name : "";
      this.say(REFUSALS[name] ?? `The camera cannot be used (${errorText(error)}).`);
      return;
    }
    this.show(true);
    find("camera-take").focus();
    const devices = await navigator.mediaDevices.enumerateDevices();
    find("camera-turn").hidden =
      !this.stream || devices.filter((device) => device.kind === "videoinput").length < 2;
    if (live) this.toggle();
  }

  stop() {
    this.starts++;
    this.live = false;
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.video.srcObject = null;
    this.show(false);
    this.say("The camera is off.");
  }

  /** @param {boolean} on */
  show(on) {
    this.video.hidden = !on;
    find("camera-text").hidden = on;
    find("camera-start").hidden = on;
    for (const id of ["camera-take", "camera-live", "camera-stop"]) find(id).hidden = !on;
    if (!on) find("camera-turn").hidden = true;
    find("camera-live").setAttribute("aria-pressed", String(this.live));
    find("camera-rate").textContent = IDLE;
  }

  /** @param {string} text */
  say(text) {
    find("camera-text").textContent = text;
  }

  area() {
    return middle(this.video.videoWidth, this.video.videoHeight, this.shape);
  }

  still() {
    this.live = false;
    find("camera-live").setAttribute("aria-pressed", "false");
    find("camera-rate").textContent = IDLE;
    return this.take(this.video, this.area(), false);
  }

  async toggle() {
    this.live = !this.live;
    find("camera-live").setAttribute("aria-pressed", String(this.live));
    if (!this.live) {
      find("camera-rate").textContent = IDLE;
      return;
    }
    const start = this.starts;
    let since = performance.now();
    let count = 0;
    while (this.live && start === this.starts) {
      const next = performance.now() + LEAST_MS;
      await this.take(this.video, this.area(), true);
      count++;
      const passed = performance.now() - since;
      if (passed >= RATE_MS && this.live) {
        const rate = ((1000 * count) / passed).toFixed(0);
        find("camera-rate").textContent = `${rate} images a second are classified.`;
        [since, count] = [performance.now(), 0];
      }
      await new Promise((resolve) => setTimeout(resolve, Math.max(next - performance.now(), 0)));
    }
  }
}
