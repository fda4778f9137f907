// SPDX-License-Identifier: Apache-2.0
// The native training step against PyTorch autograd (test/fixtures/python/training_step.py): losses and gradients of
// whole chains in float32, for every family, however activations are kept and items are grouped; and at the seam what
// a wrong step, an abort and a full pool come to.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EngineClient } from "../../src/native/engine-client.js";
import type {
  NativeModelOptions,
  NativeTrainItem,
  NativeTrainRead,
  NativeTrainStep,
  SegmentHandle,
} from "../../src/native/types.js";
import { fixturePath, loadArrays, loadFacts, relativeL2Rows } from "../helpers/fixtures.js";

interface ListedSegment {
  name: string;
  kind: "input" | "output";
  live: boolean;
  start: number;
  tokens: number[];
  labels: number[];
  reads: { segment: string; rows: number; shift: number }[];
}
interface ChainCase {
  model: string;
  trained: string[];
  prompts: string[];
  items: { segments: ListedSegment[] }[];
}

const arrays = loadArrays("training-step");
const { cases } = loadFacts<{ cases: Record<string, ChainCase> }>("training-step");
const exact: NativeModelOptions = {
  threads: 2,
  cacheBytes: 32 << 20,
  indexBytes: 0,
  kvType: "f32",
  activations: "float32",
  batchInvariant: true,
  maxBatchRows: 512,
  drafting: "off",
};
const plenty = 1 << 28;
const open = (model: string, options: Partial<NativeModelOptions> = {}) =>
  EngineClient.open(fixturePath(model), model, { ...exact, ...options });

/** Frozen segments of an item are computed by jobs, live ones become part of the step. */
async function itemOf(
  engine: EngineClient,
  { segments }: { segments: ListedSegment[] },
  prompts: { trained: string[]; frozen: Map<string, SegmentHandle> },
  scale: number,
): Promise<NativeTrainItem> {
  const frozen = new Map(prompts.frozen);
  const live: string[] = [];
  const item: NativeTrainItem = { segments: [], scale };
  for (const { name, kind, start, tokens, labels, reads, live: isLive } of segments) {
    if (!isLive) {
      const all = reads.map(({ segment, rows, shift }) => ({
        segment: frozen.get(segment) as SegmentHandle,
        rows,
        shift,
      }));
      const segment = engine.createSegment({ kind, start, reads: all });
      await engine.run({ appends: [{ segment, tokens: Int32Array.from(tokens) }], logits: "none" });
      frozen.set(name, segment);
      continue;
    }
    const whose = (read: string): Pick<NativeTrainRead, "segment" | "prompt" | "live"> => {
      if (prompts.trained.includes(read)) return { prompt: prompts.trained.indexOf(read) };
      const segment = frozen.get(read);
      return segment === undefined ? { live: live.indexOf(read) } : { segment };
    };
    item.segments.push({
      kind,
      start,
      tokens: Int32Array.from(tokens),
      labels: Int32Array.from(labels),
      reads: reads.map(({ segment, rows, shift }) => ({ ...whose(segment), rows, shift })),
    });
    live.push(name);
  }
  return item;
}

async function stepOf(engine: EngineClient, name: string): Promise<NativeTrainStep> {
  const { trained, prompts, items } = cases[name] as ChainCase;
  const frozen = new Map<string, SegmentHandle>();
  for (const prompt of prompts.filter((one) => !trained.includes(one))) {
    const { rows, data } = arrays.matrix(`${name}.${prompt}`);
    const segment = engine.createSegment({ kind: "prompt", start: -rows, reads: [] });
    await engine.run({ appends: [{ segment, rows: data }], logits: "none" });
    frozen.set(prompt, segment);
  }
  const step: NativeTrainStep = { prompts: [], items: [], gradient: true, activationBytes: plenty };
  for (const prompt of trained) {
    const { rows, data } = arrays.matrix(`${name}.${prompt}`);
    step.prompts.push({ start: -rows, rows: data });
  }
  for (const item of items) {
    step.items.push(await itemOf(engine, item, { trained, frozen }, 1 / items.length));
  }
  return step;
}

const labelsOf = (item: NativeTrainItem) =>
  item.segments.flatMap(({ labels }) => [...labels]).filter((label) => label >= 0).length;

/** Largest relative error of a gradient's row; rows far smaller than the largest are measured against that. */
function gradientError(ours: Float32Array, name: string): number {
  const reference = arrays.matrix(name);
  const rows = relativeL2Rows({ ...reference, data: ours }, reference);
  return Math.max(...rows);
}

describe("against PyTorch autograd", () => {
  for (const name of Object.keys(cases)) {
    test(name, async () => {
      const engine = await open((cases[name] as ChainCase).model);
      const step = await stepOf(engine, name);
      const { losses, gradients } = await engine.train(step);
      const expected = arrays.floats(`${name}.losses`);
      step.items.forEach((item, i) => {
        expect((losses[i] as number) / labelsOf(item)).toBeCloseTo(expected[i] as number, 4);
      });
      expect(gradients.length).toBe(step.prompts.length);
      (cases[name] as ChainCase).trained.forEach((prompt, i) => {
        const error = gradientError(gradients[i] as Float32Array, `${name}.d${prompt}`);
        expect(error, prompt).toBeLessThanOrEqual(1e-3);
      });
      await engine.close();
    });
  }
});

describe("one step, computed otherwise", () => {
  let engine: EngineClient;
  let step: NativeTrainStep;
  beforeAll(async () => {
    engine = await open("tiny-llama/tiny-f32.gguf");
    step = await stepOf(engine, "rounds");
  });
  afterAll(() => engine.close());

  test("is the same twice, bit for bit", async () => {
    expect(await engine.train(step).then(bits)).toEqual(await engine.train(step).then(bits));
  });

  test("activations computed again instead of kept: the same bits; items one by one: sums in another order", async () => {
    const kept = await engine.train(step);
    const one = await engine.train({ ...step, activationBytes: 0 });
    expect([...one.losses]).toEqual([...kept.losses]);
    one.gradients.forEach((gradient, i) => {
      const rows = gradient.length / 64;
      const as = (data: Float32Array) => ({ rows, columns: 64, data });
      expect(Math.max(...relativeL2Rows(as(gradient), as(kept.gradients[i] as Float32Array)))).toBeLessThan(
        1e-5,
      );
    });
    const alone = { ...step, items: step.items.slice(1) };
    const recomputed = await engine.train({ ...alone, activationBytes: 0 });
    expect(bits(recomputed)).toEqual(bits(await engine.train(alone)));
  });

  test("one thread or two, the same bits", async () => {
    const single = await open("tiny-llama/tiny-f32.gguf", { threads: 1 });
    expect(bits(await single.train(await stepOf(single, "rounds")))).toEqual(bits(await engine.train(step)));
    await single.close();
  });

  test("without gradients: the losses alone", async () => {
    const { losses, gradients } = await engine.train({ ...step, gradient: false });
    expect(gradients).toEqual([]);
    expect([...losses]).toEqual([...(await engine.train(step)).losses]);
  });

  test("quantised weights and f16 KV: near the float32 gradients of the same weights", async () => {
    const all: Float32Array[][] = [];
    for (const options of [{}, { kvType: "f16", activations: "int8" }] as const) {
      const quantised = await open("tiny-llama/tiny-q8_0.gguf", options);
      const { gradients } = await quantised.train(await stepOf(quantised, "rounds"));
      all.push(gradients);
      await quantised.close();
    }
    const [reference, ours] = all as [Float32Array[], Float32Array[]];
    reference.forEach((gradient, i) => {
      const whole = (data: Float32Array) => ({ rows: 1, columns: data.length, data });
      const [error] = relativeL2Rows(whole(ours[i] as Float32Array), whole(gradient));
      expect(error).toBeLessThan(0.1);
    });
  });

  test("live rows give their blocks back", async () => {
    const before = engine.stats().usedBytes;
    await engine.train(step);
    expect(engine.stats().usedBytes).toBe(before);
  });
});

const bits = (outcome: { losses: Float64Array; gradients: Float32Array[] }) => [
  [...outcome.losses],
  outcome.gradients.map((one) => [...one]),
];

describe("what cannot be stepped over", () => {
  let engine: EngineClient;
  let step: NativeTrainStep;
  beforeAll(async () => {
    engine = await open("tiny-llama/tiny-f32.gguf");
    step = await stepOf(engine, "both");
  });
  afterAll(() => engine.close());

  const changed = (change: (copy: NativeTrainStep) => void): NativeTrainStep => {
    const copy: NativeTrainStep = {
      ...step,
      prompts: step.prompts.map((one) => ({ ...one })),
      items: step.items.map((item) => ({
        ...item,
        segments: item.segments.map((one) => ({ ...one, reads: one.reads.map((read) => ({ ...read })) })),
      })),
    };
    change(copy);
    return copy;
  };
  const segment = (copy: NativeTrainStep, index = 0) => {
    const found = copy.items[0]?.segments[index];
    if (found === undefined) throw new Error("no such segment");
    return found;
  };

  const wrong: Record<string, [(copy: NativeTrainStep) => void, string]> = {
    "no items": [(copy) => copy.items.splice(0), "OPTION_INVALID"],
    "an item without live segments": [(copy) => copy.items[0]?.segments.splice(0), "OPTION_INVALID"],
    "a prompt of half a row": [
      (copy) => {
        copy.prompts[0] = { start: -1, rows: new Float32Array(32) };
      },
      "OPTION_INVALID",
    ],
    "a token outside of the vocabulary": [
      (copy) => {
        segment(copy).tokens = segment(copy).tokens.map(() => 512);
      },
      "OPTION_INVALID",
    ],
    "a label outside of the vocabulary": [
      (copy) => {
        segment(copy).labels = segment(copy).labels.map(() => -2);
      },
      "OPTION_INVALID",
    ],
    "labels of another number than rows": [
      (copy) => {
        segment(copy).labels = new Int32Array(1);
      },
      "OPTION_INVALID",
    ],
    "a read of a later live segment": [
      (copy) => segment(copy).reads.push({ live: 1, rows: 1, shift: 0 }),
      "OPTION_INVALID",
    ],
    "a read of nothing": [(copy) => segment(copy).reads.push({ rows: 1, shift: 0 }), "OPTION_INVALID"],
    "a read of a prompt that is not there": [
      (copy) => segment(copy).reads.push({ prompt: 9, rows: 1, shift: 0 }),
      "OPTION_INVALID",
    ],
    "more rows than a segment has": [
      (copy) => segment(copy, 1).reads.push({ live: 0, rows: 4000, shift: 0 }),
      "OPTION_INVALID",
    ],
    "positions beyond the context": [
      (copy) => {
        segment(copy).start = 510;
      },
      "CONTEXT_LIMIT",
    ],
  };
  for (const [name, [change, code]] of Object.entries(wrong)) {
    test(name, async () => {
      await expect(engine.train(changed(change))).rejects.toMatchObject({ code });
      expect((await engine.train(step)).losses.length).toBe(2);
    });
  }

  test("an abort ends it with the signal's reason, and the next step runs", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const items = Array.from({ length: 100 }, () => step.items).flat(); // not over before the abort
    const running = engine.train({ ...step, items }, controller.signal);
    controller.abort(reason);
    await expect(running).rejects.toBe(reason);
    await expect(engine.train(step, controller.signal)).rejects.toBe(reason);
    expect((await engine.train(step)).losses.length).toBe(2);
  });

  test("a pool without room: CACHE_BUDGET, and nothing is held", async () => {
    const small = await open("tiny-llama/tiny-f32.gguf", { cacheBytes: 1 << 16 });
    const items = [{ segments: [{ ...segment(step), reads: [] }], scale: 1 }];
    const long = { ...segment(step), reads: [], tokens: new Int32Array(400), labels: new Int32Array(400) };
    const wide = {
      prompts: [],
      items: [{ segments: [long, long], scale: 1 }],
      gradient: true,
      activationBytes: plenty,
    };
    await expect(small.train(wide)).rejects.toMatchObject({ code: "CACHE_BUDGET" });
    expect(small.stats().usedBytes).toBe(0);
    expect((await small.train({ ...wide, items })).losses.length).toBe(1);
    await small.close();
  });

  test("training and serving share an engine", async () => {
    const serve = async (at: number) => {
      const one = engine.createSegment({ kind: "input", start: 0, reads: [] });
      await engine.run({ appends: [{ segment: one, tokens: Int32Array.of(3 + at, 9, 27) }], logits: "none" });
      engine.releaseSegment(one);
    };
    const alone = bits(await engine.train(step));
    const [trained] = await Promise.all([engine.train(step), ...[0, 1, 2, 3].map(serve), engine.train(step)]);
    expect(bits(trained)).toEqual(alone);
  });

  test("a closed model ends what is queued", async () => {
    const gone = await open("tiny-llama/tiny-f32.gguf");
    const its = await stepOf(gone, "both");
    const running = Promise.allSettled([gone.train(its), gone.train(its)]);
    await gone.close();
    for (const one of await running) {
      if (one.status === "rejected") expect(one.reason).toMatchObject({ code: "CLOSED" });
    }
    await expect(gone.train(its)).rejects.toMatchObject({ code: "CLOSED" });
  });
});
