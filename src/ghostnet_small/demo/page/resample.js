// Pillow's bilinear resize with antialiasing, to the bit: two passes, each with coefficients of 22
// fractional bits and a result rounded to 8 bits. Source: Pillow's src/libImaging/Resample.c. The
// canvas's own scaling is another filter in every browser.

const PRECISION_BITS = 32 - 8 - 2;
const HALF = 1 << (PRECISION_BITS - 1);

/**
 * For each place of the output: the first place of the input that it reads, how many, and their
 * fixed-point weights (`taps` slots a place).
 * @typedef {{first: Int32Array, count: Int32Array, weights: Int32Array, taps: number}} Coefficients
 */

/**
 * @param {number} from places of the input
 * @param {number} to places of the output
 * @returns {Coefficients}
 */
function coefficients(from, to) {
  const scale = from / to;
  const support = Math.max(scale, 1);
  const taps = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(to);
  const count = new Int32Array(to);
  const weights = new Int32Array(to * taps);
  const raw = new Float64Array(taps);
  for (let place = 0; place < to; place++) {
    const centre = (place + 0.5) * scale;
    const start = Math.max(Math.trunc(centre - support + 0.5), 0);
    const length = Math.min(Math.trunc(centre + support + 0.5), from) - start;
    let sum = 0;
    for (let tap = 0; tap < length; tap++) {
      const distance = Math.abs((tap + start - centre + 0.5) * (1 / support));
      raw[tap] = distance < 1 ? 1 - distance : 0;
      sum += raw[tap];
    }
    for (let tap = 0; tap < length; tap++) {
      const weight = sum === 0 ? raw[tap] : raw[tap] / sum;
      weights[place * taps + tap] = Math.trunc(0.5 + weight * (1 << PRECISION_BITS));
    }
    first[place] = start;
    count[place] = length;
  }
  return { first, count, weights, taps };
}

/**
 * True where the vertical pass comes first, as in Pillow 13 and newer for tall images.
 * @param {{width: number, height: number}} from
 * @param {{width: number, height: number}} to
 */
export function isTall(from, to) {
  return from.height - to.height > Math.max(0, 2 * (from.width - to.width));
}

/**
 * Rows made narrower (or wider).
 * @param {Uint8Array | Uint8ClampedArray} source interleaved, `rows x from x channels`
 * @param {{rows: number, from: number, to: number, channels: number}} shape
 * @param {Uint8Array} target interleaved, `... x to x channels`
 * @param {number} offset where in `target` the first row goes
 */
export function narrow(source, shape, target, offset) {
  const { rows, from, to, channels } = shape;
  if (from === to) {
    target.set(source.subarray(0, rows * from * channels), offset);
    return;
  }
  const { first, count, weights, taps } = coefficients(from, to);
  for (let row = 0; row < rows; row++) {
    for (let place = 0; place < to; place++) {
      const start = (row * from + first[place]) * channels;
      for (let channel = 0; channel < channels; channel++) {
        let sum = HALF;
        for (let tap = 0; tap < count[place]; tap++) {
          sum += source[start + tap * channels + channel] * weights[place * taps + tap];
        }
        target[offset++] = clip(sum);
      }
    }
  }
}

/**
 * Columns made shorter (or longer).
 * @param {Uint8Array} source interleaved, `from x width x channels`
 * @param {{from: number, to: number, width: number, channels: number}} shape
 * @returns {Uint8Array} interleaved, `to x width x channels`
 */
export function shorten(source, shape) {
  const { from, to, width, channels } = shape;
  if (from === to) return source;
  const { first, count, weights, taps } = coefficients(from, to);
  const stride = width * channels;
  const target = new Uint8Array(to * stride);
  for (let place = 0; place < to; place++) {
    for (let column = 0; column < stride; column++) {
      let sum = HALF;
      for (let tap = 0; tap < count[place]; tap++) {
        sum += source[(first[place] + tap) * stride + column] * weights[place * taps + tap];
      }
      target[place * stride + column] = clip(sum);
    }
  }
  return target;
}

/** @param {number} sum @returns {number} */
function clip(sum) {
  const value = sum >> PRECISION_BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}
