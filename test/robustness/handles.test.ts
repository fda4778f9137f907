// SPDX-License-Identifier: Apache-2.0
// Handles that are closed, released twice, of the wrong kind, of another model or of another copy of the addon: a
// thrown, typed error each time, or nothing where the call is idempotent.

import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BatonError, defineChain, loadModel } from "../../src/index.js";
import { addonCandidates, loadNative, withTypedErrors } from "../../src/native/load.js";
import type {
  ModelHandle,
  NativeBinding,
  NativeJob,
  NativeTrainStep,
  SegmentHandle,
  TrainedHandle,
} from "../../src/native/types.js";
import { failure, fresh, greedy, ids, tinyOptions, tinyPath } from "./support.js";

const native = loadNative();
const open = (binding = native, onEvents = () => {}) =>
  binding.openModel(tinyPath, tinyOptions, new Int32Array(1), onEvents);
const closed = expect.objectContaining({ code: "CLOSED" });
const invalid = expect.objectContaining({ code: "OPTION_INVALID" });
const jobOn = (segment: SegmentHandle): NativeJob => ({
  appends: [{ segment, tokens: ids(3) }],
  generate: greedy(2),
  logits: "none",
});

const stepOn = (segment: SegmentHandle): NativeTrainStep => {
  const reads = [{ segment, rows: 0, shift: 0 }];
  const live = { kind: "output" as const, start: 0, tokens: ids(2), labels: ids(2), reads };
  return { prompts: [], items: [{ segments: [live], scale: 1 }], gradient: false, activationBytes: 0 };
};

const rows = [new Float32Array(64)];
const start = { values: rows, first: rows, second: rows, updates: 0 };
const update = { learningRate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0, maxNorm: 1 };

/** Every function that takes a model, or a segment, called with `handle` in its place. */
function modelCalls(binding: NativeBinding, handle: ModelHandle, segment: SegmentHandle) {
  return {
    modelInfo: () => binding.modelInfo(handle),
    setVocabulary: () => binding.setVocabulary(handle, new Uint8Array(1), new Uint32Array([0, 1])),
    cacheStats: () => binding.cacheStats(handle),
    createSegment: () => binding.createSegment(handle, fresh()),
    importSegment: () =>
      binding.importSegment(handle, { kind: "input", start: 0, rows: 1, name: "x" }, new Uint8Array(1)),
    submit: () => binding.submit(handle, jobOn(segment)),
    submitTrainStep: () => binding.submitTrainStep(handle, stepOn(segment)),
    createTrained: () => binding.createTrained(handle, start),
  };
}
/** Every function that takes trained prompts. */
function trainedCalls(binding: NativeBinding, on: ModelHandle, prompts: TrainedHandle) {
  const step = { prompts: [], items: [], gradient: true, activationBytes: 0 };
  return {
    readTrained: () => binding.readTrained(prompts, "values"),
    submitTrainUpdate: () => binding.submitTrainUpdate(on, prompts, update),
    submitTrainStep: () => binding.submitTrainStep(on, { ...step, trained: { prompts, accumulate: false } }),
  };
}
function segmentCalls(binding: NativeBinding, model: ModelHandle, segment: SegmentHandle) {
  const reads = [{ segment, rows: 0, shift: 0 }];
  return {
    segmentInfo: () => binding.segmentInfo(segment),
    exportSegment: () => binding.exportSegment(segment),
    submit: () => binding.submit(model, jobOn(segment)),
    submitTrainStep: () => binding.submitTrainStep(model, stepOn(segment)),
    createSegment: () => binding.createSegment(model, { ...fresh(), reads }),
  };
}
/** Calls that are idempotent on a handle which is spent; on a wrong one they throw like the others. */
const idempotentCalls = (binding: NativeBinding, model: ModelHandle, segment: SegmentHandle) => ({
  cancelJob: () => binding.cancelJob(model, 1),
  closeSegment: () => binding.closeSegment(segment),
  releaseSegment: () => binding.releaseSegment(segment),
});

let model: ModelHandle;
beforeAll(async () => {
  model = await open();
});
afterAll(() => native.closeModel(model));

describe("spent handles", () => {
  test("every call on a closed model: CLOSED; closing and cancelling again: nothing", async () => {
    const gone = await open();
    const segment = native.createSegment(gone, fresh());
    await Promise.all([native.closeModel(gone), native.closeModel(gone)]);
    await native.closeModel(gone);
    for (const [name, call] of Object.entries(modelCalls(native, gone, segment))) {
      expect(call, name).toThrow(closed);
    }
    native.cancelJob(gone, 1);
    expect(native.segmentInfo(segment)).toMatchObject({ rows: 0, closed: false });
    native.closeSegment(segment);
    native.releaseSegment(segment);
  });

  test("every call on a released segment: CLOSED; releasing and closing again: nothing", () => {
    const segment = native.createSegment(model, fresh());
    native.closeSegment(segment);
    native.closeSegment(segment);
    expect(() => native.submit(model, jobOn(segment))).toThrow(invalid);
    native.releaseSegment(segment);
    native.releaseSegment(segment);
    native.closeSegment(segment);
    for (const [name, call] of Object.entries(segmentCalls(native, model, segment))) {
      expect(call, name).toThrow(closed);
    }
    expect(native.cacheStats(model).segments).toBe(0);
  });

  test("every call on released trained prompts: CLOSED; releasing again: nothing", async () => {
    const prompts = await native.createTrained(model, start);
    native.releaseTrained(prompts);
    native.releaseTrained(prompts);
    for (const [name, call] of Object.entries(trainedCalls(native, model, prompts))) {
      expect(call, name).toThrow(closed);
    }
  });

  test("trained prompts whose model is closed: no step, no update, and they can be read", async () => {
    const gone = await open();
    const prompts = await native.createTrained(gone, start);
    await native.closeModel(gone);
    const { readTrained, ...others } = trainedCalls(native, gone, prompts);
    for (const [name, call] of Object.entries(others)) expect(call, name).toThrow(closed);
    expect(await readTrained()).toEqual({ updates: 0, numbers: rows });
    native.releaseTrained(prompts);
  });

  test("a job in flight when its model closes: one CLOSED event, nothing after it", async () => {
    const events: { type: string }[] = [];
    const gone = await native.openModel(tinyPath, tinyOptions, new Int32Array(1), (more) => {
      events.push(...more);
    });
    const segment = native.createSegment(gone, fresh());
    native.submit(gone, { ...jobOn(segment), generate: greedy(400) });
    await native.closeModel(gone);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(events.at(-1)).toMatchObject({ type: "failed", code: "CLOSED" });
    expect(events.filter((event) => event.type === "failed")).toHaveLength(1);
  });

  test("the library's own objects: CLOSED by name, close as often as one likes", async () => {
    const loaded = await loadModel(tinyPath, { threads: 1, cacheBytes: 8 << 20 });
    const chain = defineChain(loaded).input("question").stage("s", { maxTokens: 2 });
    await Promise.all([loaded.close(), loaded.close()]);
    expect(() => loaded.stats()).toThrow(closed);
    expect(() => defineChain(loaded)).toThrow(closed);
    expect(await failure(chain.run({ question: "Now?" }).result)).toEqual(closed);
    expect(await failure(loaded.engine.run({ appends: [], logits: "none" }))).toEqual(closed);
    await loaded.close();
  });
});

describe("wrong handles", () => {
  const wrong: [string, unknown][] = [
    ["a plain object", {}],
    ["an object that looks like a handle", Object.create(null)],
    ["null", null],
    ["undefined", undefined],
    ["a number", 7],
    ["a function", () => {}],
  ];

  function expectRefused(binding: NativeBinding, value: unknown, what: string): void {
    const asModel = value as ModelHandle;
    const asSegment = value as SegmentHandle;
    const calls = [
      ...Object.entries(segmentCalls(binding, model, asSegment)),
      ...Object.entries(idempotentCalls(binding, asModel, asSegment)),
      ...Object.entries(modelCalls(binding, asModel, asSegment)),
      ...Object.entries(trainedCalls(binding, model, value as TrainedHandle)),
      ["releaseTrained", () => binding.releaseTrained(value as TrainedHandle)] as const,
    ];
    for (const [name, call] of calls) expect(call, `${name} with ${what}`).toThrow(invalid);
    expect(() => binding.closeModel(asModel), `closeModel with ${what}`).toThrow(invalid);
  }

  test("values that are no handles", () => {
    for (const [what, value] of wrong) expectRefused(native, value, what);
  });

  test("a model where a segment is expected, and the other way round", () => {
    const segment = native.createSegment(model, fresh());
    for (const [name, call] of Object.entries(modelCalls(native, segment as never, segment))) {
      expect(call, name).toThrow(invalid);
    }
    for (const [name, call] of Object.entries(segmentCalls(native, model, model as never))) {
      expect(call, name).toThrow(invalid);
    }
    expect(() => native.releaseSegment(model as never)).toThrow(invalid);
    native.releaseSegment(segment);
  });

  test("a segment of another model", async () => {
    const other = await open();
    const segment = native.createSegment(other, fresh());
    expect(() => native.submit(model, jobOn(segment))).toThrow(invalid);
    const reads = [{ segment, rows: 0, shift: 0 }];
    expect(() => native.createSegment(model, { ...fresh(), reads })).toThrow(invalid);
    native.releaseSegment(segment);
    await native.closeModel(other);
  });

  test("an external of Node itself", async () => {
    const server = createServer((socket) => socket.end()).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const socket = connect((server.address() as { port: number }).port, "127.0.0.1");
    const { _externalStream: external } = (socket as never as { _handle: { _externalStream: unknown } })
      ._handle;
    expect(Object.prototype.toString.call(external)).toBe("[object Object]");
    expectRefused(native, external, "a stream of Node");
    socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  test("handles of another copy of the addon", async () => {
    const folder = mkdtempSync(join(tmpdir(), "baton-copy-"));
    try {
      const require = createRequire(import.meta.url);
      const original = addonCandidates()
        .map(({ request }) => request)
        .find((request) => require.cache[request] !== undefined);
      if (original === undefined) throw new Error("the addon that was loaded is not among the candidates");
      const path = join(folder, "baton.node");
      copyFileSync(original, path);
      const copy = withTypedErrors(require(path) as NativeBinding);
      const theirs = await open(copy);
      const segment = copy.createSegment(theirs, fresh());
      expect(copy.segmentInfo(segment).rows).toBe(0);
      expectRefused(native, theirs, "a model of another copy");
      expectRefused(native, segment, "a segment of another copy");
      await copy.closeModel(theirs);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("arguments with getters", () => {
  test("that close the model in the middle of a call: CLOSED, no crash", async () => {
    for (const into of ["appends", "generate", "logits"] as const) {
      const gone = await open();
      const segment = native.createSegment(gone, fresh());
      const job = jobOn(segment);
      const closing: Promise<void>[] = [];
      const value = job[into];
      Object.defineProperty(job, into, {
        get: () => {
          closing.push(native.closeModel(gone));
          return value;
        },
      });
      // Whether the call or the close comes first is open; both must end well.
      const error = await Promise.resolve()
        .then(() => native.submit(gone, job))
        .then(
          () => null,
          (thrown: unknown) => thrown,
        );
      if (error !== null) expect(error).toEqual(closed);
      await Promise.all(closing);
      expect(closing).toHaveLength(1);
    }
  });

  test("that throw: what they throw arrives", () => {
    const thrown = new Error("on purpose");
    const spec = {
      get kind(): never {
        throw thrown;
      },
    };
    expect(() => native.createSegment(model, spec as never)).toThrow(thrown);
    expect(BatonError.isInstance(thrown)).toBe(false);
  });
});
