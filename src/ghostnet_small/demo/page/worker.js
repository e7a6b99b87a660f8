// Runs the networks, beside the page's own thread so that the page stays quick. Answers one
// message at a time, each {id, task, ...}, by {id, result} or {id, error}.

/** @typedef {{output: Float32Array, dims: number[], ms: number}} Output */

/** @type {any} */
let ort = null;
/** @type {Map<string, any>} */
const sessions = new Map();
/** @type {number[]} */
let inputShape = [];

/**
 * @param {{runtime: string, files: {[name: string]: string}, shape: number[]}} message
 *   addresses, whole, and the input's shape (1, C, H, W)
 */
async function open({ runtime, files, shape }) {
  inputShape = shape;
  try {
    ort = await import(new URL("ort.wasm.min.mjs", runtime).href);
  } catch (error) {
    throw new Error(
      "The runtime (onnxruntime-web) could not be loaded from this page's server. Its terminal " +
        `may say why. (${text(error)})`,
    );
  }
  ort.env.logLevel = "error";
  ort.env.wasm.wasmPaths = runtime;
  ort.env.wasm.numThreads = 1;
  for (const [name, address] of Object.entries(files)) {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`The server answered ${answer.status} for ${address}.`);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    const options = { executionProviders: ["wasm"], logSeverityLevel: 3 };
    sessions.set(name, await ort.InferenceSession.create(bytes, options));
    // The first run takes longer than any other, and would be the one that is told.
    await run(name, new Float32Array(shape.reduce((a, b) => a * b)));
  }
  return null;
}

/**
 * @param {string} name of a file that was opened
 * @param {Float32Array} input
 * @returns {Promise<Output>}
 */
async function run(name, input) {
  const session = sessions.get(name);
  const tensor = new ort.Tensor("float32", input, inputShape);
  const start = performance.now();
  const answer = await session.run({ [session.inputNames[0]]: tensor });
  const ms = performance.now() - start;
  const output = answer[session.outputNames[0]];
  return { output: Float32Array.from(output.data), dims: Array.from(output.dims), ms };
}

/**
 * Every file's output for one input.
 * @param {{names: string[], input: Float32Array}} message
 */
async function answer({ names, input }) {
  /** @type {{[name: string]: Output}} */
  const outputs = {};
  for (const name of names) outputs[name] = await run(name, input);
  return outputs;
}

/**
 * Milliseconds of a run: `samples` times, each the mean of `repeats` runs without a pause.
 * @param {{name: string, input: Float32Array, samples: number, repeats: number}} message
 */
async function time({ name, input, samples, repeats }) {
  const session = sessions.get(name);
  const feeds = { [session.inputNames[0]]: new ort.Tensor("float32", input, inputShape) };
  const times = [];
  for (let sample = 0; sample < samples; sample++) {
    const start = performance.now();
    for (let repeat = 0; repeat < repeats; repeat++) await session.run(feeds);
    times.push((performance.now() - start) / repeats);
  }
  return times;
}

/** @param {unknown} error */
function text(error) {
  return error instanceof Error ? error.message : String(error);
}

/** @type {{[task: string]: (message: any) => Promise<unknown>}} */
const TASKS = { open, answer, time };

// A run waits for the one before it, for a session takes one at a time.
let last = Promise.resolve();
addEventListener("message", (/** @type {MessageEvent} */ { data }) => {
  last = last.then(async () => {
    try {
      postMessage({ id: data.id, result: await TASKS[data.task](data) });
    } catch (error) {
      postMessage({ id: data.id, error: text(error) });
    }
  });
});
