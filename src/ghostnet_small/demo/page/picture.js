// A file, a drawing or a frame of the camera becomes the pixels that the network reads, by the
// steps of `ghostnet-small predict`: upright, over white, grey where the network is, then resized.

import { context2d, grouped } from "./dom.js";
import { isTall, narrow, shorten } from "./resample.js";

/**
 * The input of a network; `tallFirst`: whether tall images are made shorter before narrower.
 * @typedef {{height: number, width: number, channels: number, tallFirst: boolean}} Shape
 *
 * Pixels as a network reads them, interleaved, `height x width x channels`.
 * @typedef {Shape & {data: Uint8Array}} Pixels
 *
 * @typedef {{left: number, top: number, width: number, height: number}} Area
 */

// The same limit as `predict`'s.
export const MAX_PIXELS = 25_000_000;
export const MAX_BYTES = 200_000_000;
// A photograph is read in strips: phones refuse canvases as large as their own photographs.
const STRIP_PIXELS = 1 << 20;

/** A message for the user, in place of an answer. */
export class PictureError extends Error {}

/**
 * The decoded image, its pixels as they lie in the file (no colour profile applied), upright.
 * @param {Blob} file
 * @param {string} name
 * @returns {Promise<ImageBitmap>}
 */
export async function decode(file, name) {
  if (file.size === 0) throw new PictureError(`${name} is empty.`);
  if (file.size > MAX_BYTES) {
    throw new PictureError(
      `${name} has ${grouped(file.size / 1e6)} MB; this page reads files up to ` +
        `${grouped(MAX_BYTES / 1e6)} MB.`,
    );
  }
  const unreadable = new PictureError(
    `${name} is not an image that this browser can read. PNG, JPEG, WebP, GIF, BMP and, in most ` +
      "browsers, AVIF are; save others as one of these.",
  );
  // Vector images have no pixels of their own; `predict` does not read them either.
  if (file.type === "image/svg+xml") throw unreadable;
  const size = await measure(file).catch(() => null);
  if (!size) throw unreadable;
  if (size.width * size.height > MAX_PIXELS) {
    throw new PictureError(
      `${name} has ${size.width} \u00d7 ${size.height} pixels, more than the ` +
        `${grouped(MAX_PIXELS / 1e6)} million that this page reads. Make it smaller.`,
    );
  }
  return createImageBitmap(file, {
    colorSpaceConversion: "none",
    premultiplyAlpha: "none",
    imageOrientation: "from-image",
  }).catch(() => {
    throw unreadable;
  });
}

/**
 * Width and height before anything is decoded, so that a bomb is refused rather than unpacked.
 * @param {Blob} file
 * @returns {Promise<{width: number, height: number}>}
 */
async function measure(file) {
  const address = URL.createObjectURL(file);
  try {
    const image = new Image();
    await new Promise((resolve, reject) => {
      image.onload = resolve;
      image.onerror = reject;
      image.src = address;
    });
    return { width: image.naturalWidth, height: image.naturalHeight };
  } finally {
    URL.revokeObjectURL(address);
  }
}

/**
 * The pixels of `area` as the network reads them; the ratio of the sides is not kept.
 * @param {CanvasImageSource} source
 * @param {Area} area of `source`, in its pixels
 * @param {Shape} shape of the result
 * @returns {Pixels}
 */
export function toPixels(source, area, shape) {
  const tall = shape.tallFirst && isTall(area, shape);
  return { ...shape, data: tall ? byColumns(source, area, shape) : byRows(source, area, shape) };
}

/**
 * @param {CanvasImageSource} source
 * @param {Area} area
 * @param {Shape} shape
 * @returns {Uint8Array}
 */
function byRows(source, area, shape) {
  const { height, width, channels } = shape;
  const stride = width * channels;
  const narrowed = new Uint8Array(area.height * stride);
  for (const { start, count } of strips(area.height, area.width)) {
    const part = { left: area.left, top: area.top + start, width: area.width, height: count };
    const strip = cut(source, part, channels);
    narrow(strip, { rows: count, from: area.width, to: width, channels }, narrowed, start * stride);
  }
  return shorten(narrowed, { from: area.height, to: height, width, channels });
}

/**
 * @param {CanvasImageSource} source
 * @param {Area} area
 * @param {Shape} shape
 * @returns {Uint8Array}
 */
function byColumns(source, area, shape) {
  const { height, width, channels } = shape;
  const shortened = new Uint8Array(height * area.width * channels);
  for (const { start, count } of strips(area.width, area.height)) {
    const part = { left: area.left + start, top: area.top, width: count, height: area.height };
    const strip = cut(source, part, channels);
    const short = shorten(strip, { from: area.height, to: height, width: count, channels });
    const stride = count * channels;
    for (let row = 0; row < height; row++) {
      const place = (row * area.width + start) * channels;
      shortened.set(short.subarray(row * stride, (row + 1) * stride), place);
    }
  }
  const target = new Uint8Array(height * width * channels);
  narrow(shortened, { rows: height, from: area.width, to: width, channels }, target, 0);
  return target;
}

/**
 * @param {number} side which is cut
 * @param {number} other
 */
function* strips(side, other) {
  const most = Math.max(1, Math.floor(STRIP_PIXELS / other));
  for (let start = 0; start < side; start += most) {
    yield { start, count: Math.min(most, side - start) };
  }
}

/**
 * The pixels of `area` over white, interleaved.
 * @param {CanvasImageSource} source
 * @param {Area} area
 * @param {number} channels
 * @returns {Uint8Array}
 */
function cut(source, { left, top, width, height }, channels) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = context2d(canvas);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(source, left, top, width, height, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  canvas.width = 0; // phones free the memory of a canvas late, and there are many of them
  return withoutAlpha(data, channels);
}

/**
 * @param {Uint8ClampedArray} rgba opaque
 * @param {number} channels 3, or 1 for Pillow's grey (ITU-R 601-2)
 * @returns {Uint8Array}
 */
function withoutAlpha(rgba, channels) {
  const places = rgba.length / 4;
  const target = new Uint8Array(places * channels);
  for (let place = 0; place < places; place++) {
    const red = rgba[4 * place];
    const green = rgba[4 * place + 1];
    const blue = rgba[4 * place + 2];
    if (channels === 1) {
      target[place] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    } else {
      target[3 * place] = red;
      target[3 * place + 1] = green;
      target[3 * place + 2] = blue;
    }
  }
  return target;
}

/**
 * The largest area in the middle of a frame that has the network's ratio of sides.
 * @param {number} width
 * @param {number} height
 * @param {Shape} shape
 * @returns {Area}
 */
export function middle(width, height, shape) {
  const scale = Math.min(width / shape.width, height / shape.height);
  const area = { width: Math.round(shape.width * scale), height: Math.round(shape.height * scale) };
  return {
    left: Math.floor((width - area.width) / 2),
    top: Math.floor((height - area.height) / 2),
    ...area,
  };
}

/**
 * @param {Pixels} pixels
 * @returns {ImageData}
 */
export function toImageData(pixels) {
  const { height, width, channels, data } = pixels;
  const image = new ImageData(width, height);
  for (let place = 0; place < height * width; place++) {
    for (let channel = 0; channel < 3; channel++) {
      image.data[4 * place + channel] = data[place * channels + (channels === 1 ? 0 : channel)];
    }
    image.data[4 * place + 3] = 255;
  }
  return image;
}

/**
 * The network's input, channel after channel, normalised.
 * @param {Pixels} pixels
 * @param {number[]} mean of each channel, of values from 0 to 1
 * @param {number[]} std likewise
 * @returns {Float32Array}
 */
export function toInput(pixels, mean, std) {
  const { height, width, channels, data } = pixels;
  const places = height * width;
  const input = new Float32Array(channels * places);
  for (let channel = 0; channel < channels; channel++) {
    for (let place = 0; place < places; place++) {
      const value = data[place * channels + channel] / 255;
      input[channel * places + place] = (value - mean[channel]) / std[channel];
    }
  }
  return input;
}
