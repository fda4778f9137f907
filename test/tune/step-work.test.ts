// SPDX-License-Identifier: Apache-2.0
// What a training step computes and what it does not, counted in its trace: prompt rows once, frozen rows never, dK and
// dV of live keys alone, logits of labelled rows a few at a time, and what a budget of bytes has it compute again.

import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { EngineClient } from "../../src/native/engine-client.js";
import type { ModelInfo, NativeTrainStep, SegmentHandle } from "../../src/native/types.js";
import { fixturePath } from "../helpers/fixtures.js";
import { readTrace, sumOf } from "../helpers/trace.js";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "baton-step-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const [prompt, frozen, live, items, unlabelled] = [5, 70, 50, 5, 3];
const labels = items * (live - unlabelled); // more than are scored at once
const ids = (count: number) => Int32Array.from({ length: count }, (_, i) => (i * 37 + 11) % 512);

function stepOf(info: ModelInfo, context: SegmentHandle, change: Partial<NativeTrainStep>): NativeTrainStep {
  const segment = {
    kind: "output" as const,
    start: frozen,
    tokens: ids(live),
    labels: ids(live).map((one, i) => (i < unlabelled ? -1 : one)),
    reads: [
      { prompt: 0, rows: prompt, shift: 0 },
      { segment: context, rows: frozen, shift: 0 },
    ],
  };
  return {
    prompts: [{ start: -prompt, rows: new Float32Array(prompt * info.hidden).fill(0.1) }],
    items: Array.from({ length: items }, () => ({ scale: 1, segments: [segment] })),
    gradient: true,
    activationBytes: 1 << 28,
    ...change,
  };
}

/** The events of one step; what was computed before it is not in them. */
async function stepTrace(change: (info: ModelInfo) => Partial<NativeTrainStep> = () => ({})) {
  const file = join(folder, `${randomUUID()}.json`); // a file of its own: another step would go on in this one
  const path = fixturePath("tiny-llama/tiny-f32.gguf");
  const options = {
    threads: 2,
    cacheBytes: 8 << 20,
    indexBytes: 0,
    kvType: "f32",
    maxBatchRows: 512,
  } as const;
  const engine = await EngineClient.open(path, path, {
    ...options,
    activations: "float32",
    batchInvariant: true,
    drafting: "off",
    trace: file,
  });
  const info = engine.info();
  const context = engine.createSegment({ kind: "input", start: 0, reads: [] });
  await engine.run({ appends: [{ segment: context, tokens: ids(frozen), close: true }], logits: "none" });
  const { rowsComputed } = await engine.train(stepOf(info, context, change(info)));
  await engine.close();
  const whole = readTrace(file);
  const [step] = whole.events.filter(({ name }) => name === "train step");
  if (step === undefined) throw new Error("no step");
  const events = whole.events.filter(({ begin, end }) => begin >= step.begin && end <= step.end);
  const trace = { ...whole, events };
  const named = (name: string) => events.filter((one) => one.name === name && one.tid === step.tid);
  return { info, trace, named, rowsComputed };
}

describe("a step", () => {
  test("computes prompt rows once and live rows, frozen ones not at all", async () => {
    const { info, trace, named, rowsComputed } = await stepTrace();
    expect(rowsComputed).toBe(prompt + items * live);
    expect(named("forward").map(({ args }) => args["batch rows"])).toEqual([prompt, items * live]);
    expect(sumOf(trace, "linear qkv").rows).toBe((prompt + items * live) * info.layers);
  });

  test("forms dK and dV of live keys alone, and no gradient of a weight", async () => {
    const { info, trace } = await stepTrace();
    const { layers, hidden, ffn, heads, kvHeads, headDim } = info;
    const own = (rows: number) => (rows * (rows + 1)) / 2;
    const livePairs = items * (own(live) + live * prompt) + own(prompt);
    const perPair = headDim * heads;
    // the first layer's rows of items are tokens, which have no gradient: of them only the prompt's dK and dV come
    const keys = livePairs * layers - items * own(live);
    expect(sumOf(trace, "d attend key").flop).toBe(8 * perPair * keys);
    const queries = own(prompt) * layers + (livePairs - own(prompt) + items * live * frozen) * (layers - 1);
    expect(sumOf(trace, "d attend query").flop).toBe(6 * perPair * queries);
    // a weight's own gradient would take as much again
    const qkv = hidden * headDim * (heads + 2 * kvHeads);
    const weights = qkv + hidden * headDim * heads + 3 * hidden * ffn;
    const first = items * live * qkv;
    expect(sumOf(trace, "d linear ").flop).toBe(2 * ((prompt + items * live) * weights * layers - first));
  });

  test("has logits of labelled rows only, a piece at a time", async () => {
    const { info, trace, named } = await stepTrace();
    expect(labels).toBeGreaterThan(192);
    const pieces = named("cross entropy").map(({ args }) => Number(args.rows));
    expect(pieces).toEqual([192, labels - 192]);
    expect(sumOf(trace, "d logits").flop).toBe(2 * labels * info.hidden * info.vocab);
    expect(named("score").map(({ args }) => args.labels)).toEqual([labels]);
  });
});

describe("a budget of bytes for activations", () => {
  /** What a row leaves for backward: the input of every layer, and of a layer that is kept all that it needs. */
  const bytesOf = ({ layers, hidden, ffn, heads, kvHeads, headDim }: ModelInfo, kept: number) => {
    const layer = 3 * heads * headDim + kvHeads * headDim + heads + 3 * hidden + 2 * ffn;
    return 4 * (layers * hidden + kept * layer);
  };
  const layersComputed = async (bytes: (info: ModelInfo) => number) => {
    const { info, named } = await stepTrace((its) => ({ activationBytes: bytes(its) }));
    return { forwards: named("forward").length, computed: named("layer").length / info.layers };
  };

  test("of plenty: one batch of all items, every layer once", async () => {
    const { forwards, computed } = await layersComputed((info) => items * live * bytesOf(info, info.layers));
    expect([forwards, computed]).toEqual([2, 2]);
  });

  test("of one byte less than that: two batches, every layer once", async () => {
    const { forwards, computed } = await layersComputed(
      (info) => items * live * bytesOf(info, info.layers) - 1,
    );
    expect([forwards, computed]).toEqual([3, 3]);
  });

  test("too small for one item: items one by one, layers computed again that do not fit", async () => {
    const some = await layersComputed((info) => live * bytesOf(info, 1));
    const none = await layersComputed((info) => live * bytesOf(info, 1) - 1);
    expect(some).toEqual({ forwards: 1 + items, computed: 1 + items * 1.5 }); // one layer of two is kept
    expect(none).toEqual({ forwards: 1 + items, computed: 1 + items * 2 });
    const least = await layersComputed(() => 0);
    expect(least).toEqual({ forwards: 1 + items, computed: 2 * (1 + items) }); // the prompt's, too
  });
});
