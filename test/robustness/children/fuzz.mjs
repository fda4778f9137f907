// SPDX-License-Identifier: Apache-2.0
// Calls every native function with arguments of every type, and with nearly right ones: each call returns or throws a
// typed error. Arguments: number of calls, seed. Prints what was counted; the engine must still work at the end.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { types } from "node:util";
import fc from "fast-check";
import { BatonError } from "../../../dist/errors.js";
import { loadNative } from "../../../dist/native/load.js";
import { snapshotFunctions } from "./fuzz-snapshots.mjs";
import { eventually, ids, tinyOptions, tinyPath } from "./tiny.mjs";

const [calls, seed] = [Number(process.argv[2]), Number(process.argv[3])];
const native = loadNative();
const none = new Int32Array(1);
const model = await native.openModel(tinyPath, tinyOptions, none, () => {});
const closedModel = await native.openModel(tinyPath, tinyOptions, none, () => {});
await native.closeModel(closedModel);
const written = native.createSegment(model, { kind: "input", start: 0, reads: [] });
native.submit(model, { appends: [{ segment: written, tokens: ids(40) }], logits: "none" });
await eventually(() => native.segmentInfo(written).rows === 40);
const { blockBytes } = native.cacheStats(model);
native.setVocabulary(
  model,
  new Uint8Array(512).fill(97),
  Uint32Array.from({ length: 513 }, (_, i) => i),
);
const letters = await native.compileGrammar(model, "regex", "a{3,30}").catch((error) => {
  if (error.code !== "CONSTRAINT_UNAVAILABLE") throw error; // a build without Rust has no grammars
});
const released = native.createSegment(model, { kind: "input", start: 0, reads: [] });
native.releaseSegment(released);
const softPrompts = [3, 20].map((rows) => new Float32Array(64 * rows).fill(0.1));
const begun = { values: softPrompts, first: softPrompts, second: softPrompts, updates: 0 };
const trained = await native.createTrained(model, begun);
const releasedPrompts = await native.createTrained(model, begun);
native.releaseTrained(releasedPrompts);
// Whatever a call names a file, it is in a folder that goes.
const folder = mkdtempSync(join(tmpdir(), "baton-fuzz-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
process.chdir(folder);
const saved = join(folder, "saved.snapshot");
const rowsOf = {
  header: new Uint8Array(20),
  notes: new Uint8Array(9),
  parts: [{ segment: written, rows: 40 }],
};
await native.saveSnapshot(model, { ...rowsOf, path: saved, durable: false }, none);
const head = readFileSync(saved).subarray(0, native.snapshotHeadBytes(readFileSync(saved).subarray(0, 64)));
const { snapshot: streamed } = await native.streamSnapshot(model, rowsOf, none);
const { snapshot: releasedSnapshot } = await native.openSnapshot(saved);
native.releaseSnapshot(releasedSnapshot);

// ---- values

const anything = fc.oneof(
  fc.anything({
    withBigInt: true,
    withDate: true,
    withTypedArray: true,
    withSparseArray: true,
    withMap: true,
  }),
  fc.constantFrom(model, closedModel, written, released, Symbol("s"), () => {}, new Proxy({}, {}), /x/, none),
);
const numbers = fc.oneof(
  fc.integer({ min: -4, max: 600 }),
  fc.integer(),
  fc.double(),
  fc.constantFrom(0, -0, Number.NaN, Infinity, -Infinity, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), 2 ** 53, 1e308),
);
const segments = fc.oneof(
  { weight: 30, arbitrary: fc.constant("new") },
  { weight: 1, arbitrary: fc.constantFrom(released, model) },
);
const readable = fc.oneof(
  { weight: 10, arbitrary: fc.constant(written) },
  { weight: 1, arbitrary: segments },
);
const tokens = fc.oneof(
  { weight: 20, arbitrary: fc.array(fc.integer({ min: 0, max: 511 }), { minLength: 1, maxLength: 40 }) },
  { weight: 1, arbitrary: fc.array(fc.integer(), { maxLength: 4 }) },
);
/** Mostly a number in a range. */
const near = (min, max) =>
  fc.oneof(
    { weight: 20, arbitrary: fc.double({ min, max, noNaN: true }) },
    { weight: 1, arbitrary: numbers },
  );
const nearInt = (min, max) =>
  fc.oneof({ weight: 20, arbitrary: fc.integer({ min, max }) }, { weight: 1, arbitrary: numbers });
/** Mostly `good`, now and then anything at all. */
const mostly = (good) => fc.oneof({ weight: 60, arbitrary: good }, { weight: 1, arbitrary: anything });
const record = (fields) =>
  fc.record(Object.fromEntries(Object.entries(fields).map(([name, one]) => [name, mostly(one)])));

const spec = record({
  kind: fc.constantFrom("prompt", "input", "output"),
  start: nearInt(-100, 100),
  reads: fc.array(record({ segment: readable, rows: nearInt(0, 40), shift: nearInt(-20, 20) }), {
    maxLength: 4,
  }),
});
const append = fc.oneof(
  record({ segment: segments, tokens: tokens.map((list) => Int32Array.from(list)) }),
  record({ segment: segments, tokens: tokens.map((list) => Int32Array.from(list)), close: fc.boolean() }),
  record({ segment: segments, rows: fc.float32Array({ minLength: 64, maxLength: 64 }) }),
  record({ segment: segments, rows: fc.float32Array({ maxLength: 300 }) }),
  record({
    segment: segments,
    rows: fc.constantFrom(1, 3).map((n) => new Float32Array(64 * n).fill(0.1)),
  }),
);
const sampler = record({
  temperature: near(0, 2),
  topK: nearInt(0, 600),
  topP: near(0.01, 1),
  minP: near(0, 1),
  repetitionPenalty: near(0.5, 2),
  presencePenalty: near(-2, 2),
  frequencyPenalty: near(-2, 2),
  logitBias: fc.option(
    mostly(
      record({
        ids: tokens.map((list) => Int32Array.from(new Set(list))),
        values: tokens.map((list) =>
          Float32Array.from(new Set(list), (id) => (id % 3 === 0 ? -Infinity : id)),
        ),
      }),
    ),
    { nil: undefined },
  ),
  seed: nearInt(0, 2 ** 31 - 1),
});
const generate = record({
  sampler,
  closers: tokens.map((list) => Int32Array.from(list)),
  stops: fc.array(fc.uint8Array({ minLength: 1, maxLength: 6 }), { maxLength: 3 }),
  maxTokens: nearInt(1, 40),
  logprobs: fc.option(nearInt(0, 20), { nil: undefined }),
  drafting: fc.constantFrom("auto", "off", undefined),
  grammar: fc.constantFrom(letters, undefined),
});
const job = fc
  .record({
    appends: mostly(fc.array(append, { minLength: 1, maxLength: 4 })),
    generate: fc.option(mostly(generate), { nil: undefined }),
    logits: mostly(fc.constantFrom("none", "last", "all")),
  })
  .map(({ generate: wanted, ...rest }) => (wanted === undefined ? rest : { ...rest, generate: wanted }));
const softRows = fc.oneof(
  { weight: 20, arbitrary: fc.constantFrom(1, 3, 20).map((n) => new Float32Array(64 * n).fill(0.1)) },
  { weight: 1, arbitrary: fc.float32Array({ minLength: 64, maxLength: 64 }) },
  { weight: 1, arbitrary: fc.float32Array({ maxLength: 70 }) },
);
const liveRead = fc.oneof(
  record({ segment: readable, rows: nearInt(0, 40), shift: nearInt(-20, 20) }),
  record({ prompt: nearInt(0, 1), rows: nearInt(0, 20), shift: nearInt(-20, 20) }),
  record({ live: nearInt(0, 1), rows: nearInt(0, 3), shift: nearInt(-20, 20) }),
);
const live = fc
  .tuple(tokens, nearInt(0, 100), fc.array(liveRead, { maxLength: 3 }))
  .chain(([list, start, reads]) =>
    record({
      kind: fc.constantFrom("input", "output"),
      start: fc.constant(start),
      tokens: fc.constant(Int32Array.from(list)),
      labels: fc.constant(Int32Array.from(list, (id, at) => (at % 3 === 0 ? -1 : id))),
      reads: fc.constant(reads),
    }),
  );
const soft = fc.oneof(
  record({ start: nearInt(-20, 0), rows: softRows }),
  record({ start: nearInt(-20, 0), trained: nearInt(0, 2) }),
);
const someTrained = mostly(fc.constantFrom(trained, releasedPrompts));
const step = record({
  prompts: fc.array(soft, { minLength: 1, maxLength: 2 }),
  trained: fc.option(record({ prompts: someTrained, accumulate: fc.boolean() }), { nil: undefined }),
  items: fc.array(record({ segments: fc.array(live, { minLength: 1, maxLength: 2 }), scale: near(0, 1) }), {
    minLength: 1,
    maxLength: 3,
  }),
  gradient: fc.boolean(),
  activationBytes: nearInt(0, 1 << 24),
});
const numbersOf = fc.array(softRows, { minLength: 1, maxLength: 2 });
const trainedStart = record({
  values: numbersOf,
  first: numbersOf,
  second: numbersOf,
  updates: nearInt(0, 1000),
});
const update = record({
  learningRate: near(0, 1),
  beta1: near(0, 1),
  beta2: near(0, 1),
  epsilon: near(0, 1),
  weightDecay: near(0, 1),
  maxNorm: near(0, 10),
});
const options = record({
  threads: fc.integer({ min: 0, max: 4 }),
  cacheBytes: nearInt(1 << 16, 1 << 24),
  indexBytes: nearInt(0, 1 << 24),
  kvType: fc.constantFrom("f32", "f16", "bf16", "int8"),
  activations: fc.constantFrom("int8", "float32"),
  batchInvariant: fc.boolean(),
  maxBatchRows: nearInt(1, 64),
  drafting: fc.constantFrom("auto", "off"),
});
const offsets = fc.array(fc.nat({ max: 20 }), { maxLength: 20 });
const paths = fc.oneof(
  fc.constant(tinyPath),
  fc.constantFrom("/", "/dev/null", "/proc/self/mem", ""),
  fc.string(),
);
const models = mostly(fc.constant(model));

/** Arguments of each function; openModel and closeModel open and close models of their own. */
const functions = {
  doctor: [],
  cudaReport: [],
  takeWarnings: [],
  availableThreads: [],
  availableMemory: [],
  readModelFile: [mostly(paths)],
  openModel: [mostly(paths), mostly(options), mostly(fc.constant(none)), mostly(fc.constant(() => {}))],
  modelInfo: [models],
  setVocabulary: [
    models,
    mostly(fc.uint8Array({ maxLength: 30 })),
    mostly(offsets.map((list) => Uint32Array.from(list.sort((a, b) => a - b)))),
  ],
  cacheStats: [models],
  settleTiers: [models],
  engineStats: [models],
  cacheCensus: [models],
  compileGrammar: [
    models,
    mostly(fc.constantFrom("jsonSchema", "regex")),
    mostly(fc.oneof(fc.string(), fc.json(), fc.constantFrom('{ "type": "object" }', "[ab]+", "(?=a)", "{"))),
  ],
  createSegment: [models, mostly(spec)],
  segmentInfo: [mostly(segments)],
  closeSegment: [mostly(fc.constantFrom("new", released)).filter((value) => value !== written)],
  releaseSegment: [
    mostly(fc.constantFrom("new", released)).filter((value) => value !== written),
    mostly(fc.constantFrom(undefined, "none", "resume")),
    near(0, 1e6),
  ],
  exportSegment: [mostly(fc.constantFrom(written, "new", released))],
  importSegment: [
    models,
    mostly(
      record({
        kind: fc.constantFrom("prompt", "input", "output"),
        start: nearInt(-100, 100),
        rows: nearInt(1, 40),
        name: fc.string(),
      }),
    ),
    mostly(fc.constantFrom(1, 2, 3).map((blocks) => new Uint8Array(blocks * blockBytes))),
  ],
  submit: [models, mostly(job)],
  submitTrainStep: [models, mostly(step)],
  createTrained: [models, mostly(trainedStart)],
  readTrained: [someTrained, mostly(fc.constantFrom("values", "first", "second", "gradient"))],
  submitTrainUpdate: [models, someTrained, mostly(update)],
  releaseTrained: [mostly(fc.constant(releasedPrompts)).filter((value) => value !== trained)],
  tokenEmbeddings: [models, mostly(tokens.map((list) => Int32Array.from(list)))],
  ...snapshotFunctions({
    given: { mostly, record, nearInt, models, readable, tokens, none },
    sound: { head, saved, streamed, releasedSnapshot },
  }),
  cancelJob: [models, mostly(numbers)],
  closeModel: [fc.oneof(anything, fc.constant(closedModel)).filter((value) => value !== model)],
};
const missing = Object.keys(native).filter((name) => name !== "apiVersion" && !(name in functions));
if (missing.length > 0) throw new Error(`functions without a test: ${missing.join(", ")}`);

// ---- calls

const counts = { returned: 0, refused: 0, submitted: 0, stepped: 0, opened: 0 };
const codes = {};
const created = [];

/** "new" stands for a segment made for this call. */
function withSegments(value) {
  if (value === "new") {
    const reads = [{ segment: written, rows: 40, shift: 0 }];
    const segment = native.createSegment(model, { kind: "output", start: 40, reads });
    created.push(segment);
    return segment;
  }
  if (Array.isArray(value)) return value.map(withSegments);
  if (typeof value !== "object" || value === null || types.isExternal(value)) return value;
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype) return value;
  const copy = { ...value };
  for (const name of ["segment", "segments", "reads", "appends", "items"]) {
    if (name in copy) copy[name] = withSegments(copy[name]);
  }
  return copy;
}

/** Node's own refusals (a string too long, a getter that throws) are no errors of the addon. */
function refuse(error, name) {
  if (!BatonError.isInstance(error)) {
    throw new Error(`${name} threw ${error?.stack ?? String(error)}`, { cause: error });
  }
  if (error.code === "INTERNAL") throw new Error(`${name}: INTERNAL ${error.message}`);
  if (error.message.length < 10) throw new Error(`${name}: ${error.message}`);
  counts.refused += 1;
  codes[error.code] = (codes[error.code] ?? 0) + 1;
}

/** What stands for a snapshot is made; some have read their blocks. */
async function withSnapshots(args) {
  if (!args.some((one) => one === "opened" || one === "restoring")) return { args, made: null };
  const { snapshot: made } = await native.openSnapshot(saved);
  if (args.includes("restoring")) {
    native.beginRestore(model, made);
    if (args.length % 2 === 1) await native.fillRestore(model, made, none);
  }
  return { args: args.map((one) => (one === "opened" || one === "restoring" ? made : one)), made };
}

async function call(name, given) {
  const { args, made } = await withSnapshots(given.map(withSegments));
  try {
    // A deep copy of a handle is none: fast-check shows and shrinks, it never copies.
    const result = await native[name](...args);
    counts.returned += 1;
    if (name === "submit") counts.submitted += 1;
    if (name === "submitTrainStep") counts.stepped += 1;
    if (["createSegment", "importSegment", "takeSegment"].includes(name)) native.releaseSegment(result);
    if (result?.snapshot !== undefined) native.releaseSnapshot(result.snapshot);
    if (name === "createTrained") native.releaseTrained(result);
    if (name === "openModel") {
      counts.opened += 1;
      await native.closeModel(result);
    }
  } catch (error) {
    refuse(error, name);
  } finally {
    if (made !== null) native.releaseSnapshot(made);
    for (const segment of created.splice(0)) native.releaseSegment(segment);
  }
}

const chosen = fc.oneof(
  ...Object.entries(functions).map(([name, args]) => ({
    weight: name === "doctor" ? 0 : name.startsWith("submit") ? 20 : name === "createSegment" ? 10 : 3,
    arbitrary: fc.tuple(fc.constant(name), fc.tuple(...args), fc.nat({ max: 20 })),
  })),
);
await call("doctor", []);
await fc.assert(
  fc.asyncProperty(chosen, async ([name, args, drop]) => {
    await call(name, drop === 0 ? args.slice(1) : args); // sometimes one too few, all shifted
  }),
  { numRuns: calls, seed, endOnFailure: true },
);

native.releaseSnapshot(streamed);
const idle = await eventually(() => native.cacheStats(model).segments === 1);
const last = native.createSegment(model, { kind: "output", start: 40, reads: [] });
native.submit(model, { appends: [{ segment: last, tokens: ids(7) }], logits: "last" });
const works = await eventually(() => native.segmentInfo(last).rows === 7);
await native.closeModel(model);
console.log(JSON.stringify({ ...counts, codes, idle, works }));
