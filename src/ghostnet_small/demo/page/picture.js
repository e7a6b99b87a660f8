// A file, a drawing or a frame of the camera becomes the pixels that the network reads, by the
// steps of `ghostnet-small predict`: upright, over white, grey where the network is, then resized.

import { context2d, grouped } from "./dom.js";
import { coefficients, narrow, shorten } from "./resample.js";

/**
 * What a network reads.
 * @typedef {{height: number, width: number, channels: number}} Shape
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
 * The decoded picture, its pixels as they lie in the file (no colour profile applied), upright.
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
    `${name} is not a picture that this browser can read. PNG, JPEG, WebP, GIF, BMP and, in most ` +
      "browsers, AVIF are; save others as one of these.",
  );
  // Vector pictures have no pixels of their own; `predict` does not read them either.
  if (file.type === "image/svg+xml") throw unreadable;
  const size = await measure(file).catch(() => null);
  if (!size) throw unreadable;
  if (size.width * size.height > MAX_PIXELS) {
    throw new PictureError(
      `${name} has ${size.width} \u00d7 ${size.height} pixels, more than the ` +
        `${grouped(MAX_PIXELS / 1e6)} million that this page and "predict" read. Make it smaller.`,
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
  const { height, width, channels } = shape;
  const rows = Math.max(1, Math.min(area.height, Math.floor(STRIP_PIXELS / area.width)));
  const canvas = document.createElement("canvas");
  canvas.width = area.width;
  canvas.height = rows;
  const context = context2d(canvas);
  const table = area.width === width ? null : coefficients(area.width, width);
  const narrowed = new Uint8Array(area.height * width * channels);
  for (let top = 0; top < area.height; top += rows) {
    const count = Math.min(rows, area.height - top);
    context.fillStyle = "#fff";
    context.fillRect(0, 0, area.width, rows);
    context.drawImage(
      source,
      ...[area.left, area.top + top, area.width, count],
      ...[0, 0, area.width, count],
    );
    const strip = withoutAlpha(context.getImageData(0, 0, area.width, count).data, channels);
    const offset = top * width * channels;
    narrow(strip, { rows: count, from: area.width, to: width, channels }, table, narrowed, offset);
  }
  const data = shorten(narrowed, { from: area.height, to: height, width, channels });
  return { height, width, channels, data };
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
