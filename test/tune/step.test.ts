// SPDX-License-Identifier: Apache-2.0
// Training steps of whole chains: losses are those of inference, gradients those of finite differences of inference,
// whatever is batched with what and however little memory there is for activations.

import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Layout, Model } from "../../src/index.js";
import { loadModel } from "../../src/index.js";
import type { PreparedItem } from "../../src/tune/task.js";
import type { Tuning, TuningOptions } from "../../src/tune/tuning.js";
import { openTuning } from "../../src/tune/tuning.js";
import { fixturePath } from "../helpers/fixtures.js";
import { everyRecord, everyStep } from "./every-step.js";
import { inferenceLosses } from "./inference-loss.js";

let model: Model;
beforeAll(async () => {
  model = await loadModel(fixturePath("tiny-llama/tiny-f32.gguf"), {
    threads: 2,
    kvType: "f32",
    activations: "float32",
    cacheBytes: 64 << 20,
    indexBytes: 0,
  });
});
afterAll(() => model.close());

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

const stage = { init: "random", virtualTokens: 6 } as const;
const texts = ["Ten weeks or so.", "It is said that it does, in winter."];
const data = [
  everyRecord,
  ...texts.map((answer, at) => ({
    ...everyRecord,
    question: `${answer} ${at}?`,
    compress: answer,
    answer,
    turns: everyRecord.turns.slice(0, at === 0 ? 2 : 3),
  })),
];

async function open(layout: Layout, options: Partial<TuningOptions>) {
  const tuning = await openTuning(everyStep(model, layout).definition, {
    stages: { answer: stage },
    data,
    ...options,
  });
  const items: PreparedItem[] = [];
  for (const one of tuning.items) items.push(await tuning.task.prepare(one));
  ends.push(() => {
    for (const one of items) tuning.task.release(one);
    tuning.task.close();
  });
  return { ...tuning, prepared: items };
}

type Open = Awaited<ReturnType<typeof open>>;

const lossOf = ({ task, prepared }: Open, values: readonly Float32Array[], gradient = true) =>
  task.loss(prepared, values, { gradient, scale: 0.25, signal: new AbortController().signal });

/** The sum over items of `scale` times the item's mean, by inference. */
async function objective({ task, prepared }: Open, values: readonly Float32Array[]): Promise<number> {
  const { step } = task.step(prepared, values, { gradient: false, scale: 0.25 });
  const losses = await inferenceLosses(model, step);
  return losses.reduce((sum, one, at) => sum + (0.25 * one) / (prepared[at]?.rows.labels ?? 0), 0);
}

/** What a scored stage reads may have read what is trained: two hops, as many as this model has layers. */
const ways: [string, Layout, Partial<TuningOptions>][] = [
  ["the last stage alone", "contiguous", {}],
  [
    "the first stage, without an opener, scored at the end too",
    "contiguous",
    { stages: { compress: stage }, labels: ["compress", "answer"] },
  ],
  [
    "a stage in rounds",
    "contiguous",
    { stages: { "turns.think": stage }, labels: ["turns.think", "turns.doubt.check", "answer"] },
  ],
  [
    "every stage jointly",
    "contiguous",
    {
      stages: {
        compress: stage,
        "turns.think": stage,
        "turns.doubt.check": stage,
        "sub.check": stage,
        "votes.vote": stage,
        answer: stage,
      },
    },
  ],
  [
    "the first stage of an absolute line",
    "concatenated",
    { stages: { compress: stage }, labels: ["turns.think"] },
  ],
  [
    "every stage of an absolute line",
    "concatenated",
    { stages: { compress: stage, "turns.think": stage, "sub.check": stage, answer: stage } },
  ],
];

describe.each(ways)("%s (%s)", (_, layout, options) => {
  test("losses are those of inference", async () => {
    const tuning = await open(layout, options);
    const { losses, gradients, rowsComputed } = await lossOf(tuning, tuning.initial, false);
    expect(gradients).toEqual([]);
    const { step } = tuning.task.step(tuning.prepared, tuning.initial, { gradient: false, scale: 1 });
    const wanted = await inferenceLosses(model, step);
    expect(losses.length).toBe(3);
    for (const [at, one] of wanted.entries())
      expect(Math.abs((losses[at] as number) / one - 1)).toBeLessThan(1e-5);
    const live = tuning.prepared.reduce((sum, { rows }) => sum + rows.live, 0);
    expect(rowsComputed).toBe(live + step.prompts.length * stage.virtualTokens);
  });

  test("gradients are those of finite differences", async () => {
    const tuning = await open(layout, options);
    const { gradients } = await lossOf(tuning, tuning.initial);
    expect(gradients.length).toBe(tuning.task.parameters.length);
    for (const [at, gradient] of gradients.entries()) {
      const norm = Math.sqrt(gradient.reduce((sum, one) => sum + one * one, 0));
      expect(norm).toBeGreaterThan(0);
      const moved = (by: number) =>
        tuning.initial.map((one, other) =>
          other === at ? one.map((value, i) => value + (by * (gradient[i] as number)) / norm) : one,
        );
      const by = 0.02;
      const slope = ((await objective(tuning, moved(by))) - (await objective(tuning, moved(-by)))) / (2 * by);
      expect(Math.abs(slope / norm - 1), tuning.task.parameters[at]?.stage).toBeLessThan(0.02);
    }
  });
});

describe("a step", () => {
  const joint = { stages: { compress: stage, "turns.doubt.check": stage, answer: stage } };

  test("gives every item the loss that it has alone, and the sum of their gradients", async () => {
    const tuning = await open("contiguous", joint);
    const all = await lossOf(tuning, tuning.initial);
    const sum = tuning.initial.map((one) => new Float64Array(one.length));
    for (const [at, one] of tuning.prepared.entries()) {
      const alone = await lossOf({ ...tuning, prepared: [one] }, tuning.initial);
      expect(Math.abs((alone.losses[0] as number) / (all.losses[at] as number) - 1)).toBeLessThan(1e-5);
      for (const [p, gradient] of alone.gradients.entries()) {
        for (const [i, value] of gradient.entries())
          (sum[p] as Float64Array)[i] = (sum[p]?.[i] as number) + value;
      }
    }
    for (const [p, gradient] of all.gradients.entries())
      expect(distance(gradient, sum[p] ?? [])).toBeLessThan(1e-4);
  });

  test("leaves a prompt that none of its items depends on without a gradient", async () => {
    const tuning = await open("contiguous", joint);
    const without = tuning.prepared.filter((_, at) => at === 1); // its one round has no doubt
    const { gradients } = await lossOf({ ...tuning, prepared: without }, tuning.initial);
    const at = tuning.task.parameters.findIndex(({ stage: site }) => site === "turns.doubt.check");
    const lengths = gradients.map((one) => Math.hypot(...one));
    expect(lengths[at]).toBe(0);
    expect(lengths.filter((one) => one > 0).length).toBe(2);
  });

  test("is the same with little memory for activations", async () => {
    const rich = await open("contiguous", joint);
    const poor = await open("contiguous", { ...joint, activationBytes: 1 });
    const wanted = await lossOf(rich, rich.initial);
    const found = await lossOf(poor, rich.initial);
    for (const [at, one] of wanted.losses.entries())
      expect(Math.abs((found.losses[at] as number) / one - 1)).toBeLessThan(1e-6);
    for (const [p, one] of wanted.gradients.entries())
      expect(distance(found.gradients[p] ?? [], one)).toBeLessThan(1e-5);
  });

  test("is aborted with the signal's reason, and the next one goes on", async () => {
    const tuning = await open("contiguous", joint);
    const reason = new Error("enough");
    for (let turns = 0; turns < 6; turns++) {
      const controller = new AbortController();
      const stepping = tuning.task.loss(tuning.prepared, tuning.initial, {
        gradient: true,
        scale: 1,
        signal: controller.signal,
      });
      for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
      controller.abort(reason);
      const end = await stepping.catch((error: unknown) => error);
      if (end !== reason) expect((end as { losses: unknown }).losses).toBeInstanceOf(Float64Array);
    }
    await expect(
      tuning.task.loss(tuning.prepared, tuning.initial, {
        gradient: true,
        scale: 1,
        signal: AbortSignal.abort(reason),
      }),
    ).rejects.toBe(reason);
    expect((await lossOf(tuning, tuning.initial)).losses.length).toBe(3);
  });

  test("learns: some steps down the gradient lower the loss", async () => {
    const tuning: Tuning & Open = await open("contiguous", joint);
    const values = tuning.initial.map((one) => one.slice());
    const before = await objective(tuning, values);
    for (let step = 0; step < 10; step++) {
      const { gradients } = await lossOf(tuning, values);
      for (const [p, gradient] of gradients.entries()) {
        const value = values[p] as Float32Array;
        for (const [i, one] of gradient.entries()) value[i] = (value[i] as number) - 0.5 * one;
      }
    }
    expect(await objective(tuning, values)).toBeLessThan(before - 0.01);
  });
});

/** |a - b| / |b| */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let error = 0;
  let norm = 0;
  for (let i = 0; i < b.length; i++) {
    error += ((a[i] as number) - (b[i] as number)) ** 2;
    norm += (b[i] as number) ** 2;
  }
  return Math.sqrt(error / norm);
}
