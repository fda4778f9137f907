// SPDX-License-Identifier: Apache-2.0
// The loop on a task that is solved exactly: PyTorch's losses step by step, the known optimum, early stop, divergence,
// and aborts at every point where anything is waited for.
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TuningDivergedError } from "../../src/errors.js";
import { openCheckpoint } from "../../src/tune/checkpoint.js";
import type { ScheduleName } from "../../src/tune/schedule.js";
import { loadArrays, loadFacts } from "../helpers/fixtures.js";
import { leastLoss, regressionItems } from "./regression.mjs";
import { failure, lossesOf, RegressionTask, trainRegression } from "./support.js";

interface Case {
  name: string;
  batchSize: number;
  accumulation: number;
  epochs: number;
  schedule: string;
  warmup: number;
  learningRate: number;
  weightDecay: number;
  maxGradientNorm: number;
  losses: number[];
  norms: number[];
  devLosses: number[];
}

interface Facts {
  items: { contexts: number[]; classes: number[] }[];
  dev: Facts["items"];
  cases: Case[];
}

const facts = loadFacts<Facts>("training");
const named = (all: Facts["items"], file: string) =>
  all.map((item, i) => ({ origin: `${file}:${i + 1}`, ...item }));
const constant = { schedule: "constant", warmup: 0, maxGradientNorm: null } as const;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "baton-train-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function closeTo(found: readonly number[], expected: readonly number[], bound: number): void {
  expect(found.length).toBe(expected.length);
  for (const [i, one] of found.entries()) expect(Math.abs(one - (expected[i] as number))).toBeLessThan(bound);
}

describe("a run", () => {
  it.each(facts.cases.map((one) => [one.name, one] as const))(
    "has PyTorch's losses: %s",
    async (name, one) => {
      const { losses, norms, devLosses, schedule, ...options } = one;
      const { result, steps } = await trainRegression(
        {
          ...options,
          schedule: schedule.replace("_with_warmup", "") as ScheduleName,
          shuffle: false,
          keep: "last",
        },
        { items: named(facts.items, "train"), dev: named(facts.dev, "dev") },
      );
      closeTo(lossesOf(steps), losses, 1e-6);
      closeTo(
        steps.map(({ gradientNorm }) => gradientNorm),
        norms,
        1e-6,
      );
      closeTo(
        result.evaluations.map(({ devLoss }) => devLoss),
        devLosses,
        1e-6,
      );
      const arrays = loadArrays("training");
      closeTo([...(result.values[0] as Float32Array)], [...arrays.floats(`${name}.weights`)], 2e-6);
      closeTo([...(result.values[1] as Float32Array)], [...arrays.floats(`${name}.bias`)], 2e-6);
      expect(losses.at(-1)).toBeLessThan((losses[0] as number) - 0.02);
    },
  );

  it("reaches the least loss that there is", async () => {
    const items = regressionItems(40);
    const options = { epochs: 400, batchSize: 40, learningRate: 0.1, schedule: "cosine" } as const;
    const { steps } = await trainRegression(options, { items });
    const least = leastLoss(items);
    expect((steps.at(-1)?.loss as number) - least).toBeLessThan(1e-5);
    expect((steps.at(-1)?.loss as number) - least).toBeGreaterThan(-1e-9);
    expect((steps[0]?.loss as number) - least).toBeGreaterThan(0.1);
  });

  it("says what each step was: rows, epochs, learning rate, what is left", async () => {
    const { steps, task } = await trainRegression({
      ...constant,
      epochs: 2,
      batchSize: 4,
      learningRate: 0.1,
    });
    expect(steps.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(steps.every((one) => one.steps === 8 && one.learningRate === 0.1)).toBe(true);
    expect(steps.map(({ epoch }) => epoch)).toEqual([0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]);
    const labels = regressionItems(13).reduce((sum, item) => sum + item.classes.length, 0);
    const sum = (name: "live" | "frozen" | "reused" | "computed", from: number, to: number) =>
      steps.slice(from, to).reduce((total, { rows }) => total + rows[name], 0);
    expect(sum("live", 0, 4)).toBe(labels + 13);
    expect(sum("frozen", 0, 4)).toBe(2 * labels);
    expect(sum("reused", 0, 4)).toBe(0);
    expect(sum("reused", 4, 8)).toBe(2 * labels);
    expect(sum("computed", 0, 4)).toBe(labels + 4 * 4);
    expect(steps.every(({ rowsPerSecond }) => rowsPerSecond > 0 && Number.isFinite(rowsPerSecond))).toBe(
      true,
    );
    expect(steps.at(-1)?.secondsLeft).toBe(0);
    expect(steps[0]?.secondsLeft).toBeGreaterThan(0);
    expect(task.held).toBe(0);
  });

  it("is the same for the same seed, and accumulation changes no more than rounding", async () => {
    const options = { epochs: 3, batchSize: 6, learningRate: 0.2, seed: 3 };
    const { steps, result } = await trainRegression(options);
    expect(lossesOf((await trainRegression(options)).steps)).toEqual(lossesOf(steps));
    expect(lossesOf((await trainRegression({ ...options, seed: 4 })).steps)).not.toEqual(lossesOf(steps));
    const parts = await trainRegression({ ...options, batchSize: 2, accumulation: 3 });
    closeTo(lossesOf(parts.steps), lossesOf(steps), 1e-6);
    closeTo([...(parts.result.values[0] as Float32Array)], [...(result.values[0] as Float32Array)], 1e-5);
  });

  it("leaves the initial values as they are", async () => {
    const task = new RegressionTask();
    const initial = task.initial();
    const { result } = await trainRegression({ epochs: 2, learningRate: 0.2 }, { task, initial });
    expect(initial).toEqual(task.initial());
    expect(result.values).not.toEqual(initial);
  });
});

describe("evaluation", () => {
  const dev = regressionItems(20).slice(13);

  it("comes before the first step, every N steps and at epochs' ends, with scores", async () => {
    const asked: number[] = [];
    const score = async (values: readonly Float32Array[]) => {
      asked.push(values.length);
      return { f1: asked.length };
    };
    const options = { ...constant, epochs: 2, batchSize: 3, learningRate: 0.1, evaluateEvery: 4 };
    const progress: string[] = [];
    const onEvaluating = (done: number, total: number) => progress.push(`${done}/${total}`);
    const { steps, result } = await trainRegression(options, { dev, score, onEvaluating });
    expect(progress).toEqual(Array.from({ length: 5 }, () => ["3/7", "6/7", "7/7"]).flat());
    expect(result.evaluations.map(({ step }) => step)).toEqual([0, 4, 5, 8, 10]);
    expect(result.evaluations.map(({ epoch }) => epoch)).toEqual([0, 0.8, 1, 1.6, 2]);
    expect(result.evaluations.map(({ scores }) => scores.f1)).toEqual([1, 2, 3, 4, 5]);
    expect(steps[0]?.before).toEqual(result.evaluations[0]);
    expect(steps.slice(1).every(({ before }) => before === undefined)).toBe(true);
    expect(steps.flatMap(({ evaluation }) => evaluation ?? [])).toEqual(result.evaluations.slice(1));
    expect(result.evaluations[0]?.devLoss).toBeCloseTo(Math.log(4), 6);
  });

  it("keeps the values of the lowest dev loss and stops after `patience` without a lower one", async () => {
    const items = regressionItems(4);
    const options = { ...constant, epochs: 60, batchSize: 4, learningRate: 0.05, patience: 3 };
    const { result, steps } = await trainRegression(options, { items, dev });
    const losses = result.evaluations.map(({ devLoss }) => devLoss);
    const best = losses.indexOf(Math.min(...losses));
    expect(result.stopped).toBe("patience");
    expect(steps.length).toBe(best + 3);
    expect(result.valuesStep).toBe(best);
    const { result: short } = await trainRegression(
      { ...options, epochs: best, patience: null, keep: "last" },
      { items, dev },
    );
    expect(result.values).toEqual(short.values);
    expect(best).toBeGreaterThan(0);
  });

  it("keeps the last values if asked, and without dev data", async () => {
    const items = regressionItems(4);
    const options = { ...constant, epochs: 60, batchSize: 4, learningRate: 0.5 };
    const last = await trainRegression({ ...options, keep: "last" }, { items, dev });
    const none = await trainRegression(options, { items });
    expect(last.result.valuesStep).toBe(60);
    expect(last.result.values).toEqual(none.result.values);
    expect(none.result.evaluations).toEqual([]);
  });
});

describe("a run that diverges", () => {
  it("stops with step and learning rate, and keeps the last good checkpoint", async () => {
    const checkpoint = join(folder, "diverged.safetensors");
    const task = new RegressionTask();
    const loss = task.loss.bind(task);
    let calls = 0;
    task.loss = async (...args) => {
      const found = await loss(...args);
      calls += 1;
      if (calls >= 8) found.losses[0] = Number.NaN;
      return found;
    };
    const options = {
      ...constant,
      epochs: 5,
      batchSize: 4,
      learningRate: 0.25,
      checkpoint,
      checkpointEvery: 3,
    };
    const error = await failure(trainRegression(options, { task }));
    expect(TuningDivergedError.isInstance(error)).toBe(true);
    expect((error as TuningDivergedError).facts).toEqual({
      step: 8,
      learningRate: 0.25,
      what: "the loss",
      value: "NaN",
      checkpointStep: 6,
    });
    expect((error as Error).message).toMatch(/^In step 8, at learning rate 0\.25, the loss became NaN\./);
    expect(task.held).toBe(0);
    const again = await trainRegression({ ...options, resume: true });
    const whole = await trainRegression({ ...options, checkpoint: null });
    expect(again.result.resumedFrom).toBe(6);
    expect(lossesOf(again.result.steps)).toEqual(lossesOf(whole.steps));
  });

  it("does so for a gradient and for values that are no numbers, without a checkpoint of them", async () => {
    const checkpoint = join(folder, "gradient.safetensors");
    const task = new RegressionTask();
    const loss = task.loss.bind(task);
    task.loss = async (...args) => {
      const found = await loss(...args);
      (found.gradients[1] as Float32Array)[2] = Number.POSITIVE_INFINITY;
      return found;
    };
    const options = { ...constant, epochs: 1, learningRate: 0.1, checkpoint, checkpointEvery: 1 };
    const gradient = await failure(trainRegression(options, { task }));
    expect((gradient as TuningDivergedError).facts).toMatchObject({ step: 1, what: "the gradient's length" });
    const values = await failure(trainRegression({ ...options, learningRate: 1e39 }));
    expect((values as TuningDivergedError).facts).toMatchObject({
      step: 1,
      learningRate: 1e39,
      value: "Infinity",
    });
    expect((await readdir(folder)).filter((name) => name.startsWith("gradient"))).toEqual([]);
  });

  it("names the step and the record whose dev loss is no number; before the first step the rows it began with", async () => {
    const checkpoint = join(folder, "dev.safetensors");
    const dev = regressionItems(20).slice(13);
    const options = {
      ...constant,
      epochs: 5,
      batchSize: 4,
      learningRate: 0.25,
      checkpoint,
      checkpointEvery: 1,
    };
    const failing = (evaluation: number) => {
      const task = new RegressionTask();
      const loss = task.loss.bind(task);
      let calls = 0; // an evaluation asks once for all dev items of a batch
      task.loss = async (items, values, how) => {
        const found = await loss(items, values, how);
        if (!how.gradient && calls++ === evaluation * 2) found.losses[1] = Number.NaN;
        return found;
      };
      return trainRegression(options, { task, dev });
    };
    const first = (await failure(failing(0))) as TuningDivergedError;
    expect(first.facts).toEqual({ origin: dev[1]?.origin, value: "NaN" });
    expect(await readdir(folder)).not.toContain("dev.safetensors");
    const later = (await failure(failing(2))) as TuningDivergedError;
    expect(later.facts).toEqual({
      step: 8,
      learningRate: 0.25,
      what: `the dev loss of ${dev[1]?.origin}`,
      value: "NaN",
      checkpointStep: 7,
    });
    expect(later.message).toContain(
      `In step 8, at learning rate 0.25, the dev loss of ${dev[1]?.origin} became NaN.`,
    );
    expect((await openCheckpoint(checkpoint))?.step).toBe(7);
  });

  it("keeps no checkpoint whose values the next step finds to be bad", async () => {
    const checkpoint = join(folder, "unproved.safetensors");
    const options = {
      ...constant,
      epochs: 3,
      batchSize: 13,
      learningRate: 1e38,
      checkpoint,
      checkpointEvery: 1,
    };
    const task = new RegressionTask();
    const loss = task.loss.bind(task);
    task.loss = async (items, values, how) => {
      const found = await loss(items, values, how);
      // what a model in float32 makes of such values
      if (values.some((one) => one.some((value) => Math.abs(value) > 1e30))) found.losses.fill(Number.NaN);
      return found;
    };
    const error = await failure(trainRegression(options, { task }));
    expect(TuningDivergedError.isInstance(error)).toBe(true);
    expect((error as TuningDivergedError).facts.step).toBe(2);
    expect((await readdir(folder)).filter((name) => name.startsWith("unproved"))).toEqual([]);
  });
});

describe("an abort", () => {
  it("at any moment rejects with the reason, holds nothing, and loses no finished step", async () => {
    const dev = regressionItems(20).slice(13);
    const options = { epochs: 2, batchSize: 5, learningRate: 0.2, checkpointEvery: 100, evaluateEvery: 2 };
    const counting = new RegressionTask();
    let waits = 0;
    counting.onWait = () => {
      waits += 1;
    };
    const whole = await trainRegression(options, { task: counting, dev });
    expect(waits).toBeGreaterThan(50);
    for (let at = 1; at <= waits; at += 3) {
      const checkpoint = join(folder, `abort-${at}.safetensors`);
      const controller = new AbortController();
      const reason = new Error(`stop at ${at}`);
      const task = new RegressionTask();
      let left = at;
      task.onWait = () => {
        left -= 1;
        if (left === 0) setImmediate(() => controller.abort(reason));
      };
      const seen: number[] = [];
      const run = trainRegression(
        { ...options, checkpoint },
        { task, dev, signal: controller.signal, onStep: ({ step }) => seen.push(step) },
      );
      const outcome = await run.catch((error: unknown) => error);
      if (at < waits) expect(outcome).toBe(reason);
      expect(task.held).toBe(0);
      const again = await trainRegression({ ...options, checkpoint, resume: true }, { dev });
      expect(again.result.resumedFrom).toBeGreaterThanOrEqual(seen.length);
      expect(lossesOf(again.result.steps)).toEqual(lossesOf(whole.steps));
      expect(again.result.evaluations).toEqual(whole.result.evaluations);
      expect(again.result.values).toEqual(whole.result.values);
      // every step is reported once, by one of the two
      const reported = [...seen, ...again.steps.map(({ step }) => step)];
      expect(reported).toEqual(whole.steps.map(({ step }) => step));
    }
  });

  it("before the start does nothing", async () => {
    const reason = new Error("never");
    const task = new RegressionTask();
    task.onWait = () => {
      throw new Error("worked");
    };
    expect(await failure(trainRegression({}, { task, signal: AbortSignal.abort(reason) }))).toBe(reason);
  });
});
