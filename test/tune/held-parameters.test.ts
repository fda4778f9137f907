// SPDX-License-Identifier: Apache-2.0
// Parameters where the model computes, against optimizer.ts: whole runs of a chain have the same losses, norms, values
// and moments bit for bit, whatever is clipped, decayed, summed or resumed.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Model } from "../../src/index.js";
import { parseSafetensors } from "../../src/model/safetensors.js";
import { openCheckpoint } from "../../src/tune/checkpoint.js";
import type { DataItem } from "../../src/tune/data.js";
import { HostParameters } from "../../src/tune/host-parameters.js";
import { createAdamWState } from "../../src/tune/optimizer.js";
import type { TrainOptions } from "../../src/tune/settings.js";
import { checkTrainOptions } from "../../src/tune/settings.js";
import type { TuneStep } from "../../src/tune/steps.js";
import type { TrainingTask } from "../../src/tune/task.js";
import { train } from "../../src/tune/train.js";
import type { Tuning } from "../../src/tune/tuning.js";
import { openTuning } from "../../src/tune/tuning.js";
import { chainOf, dev, loadModelToTune, records } from "./small-chain.js";
import { factsOf, failure, identity } from "./support.js";

let folder: string;
let model: Model;
let tuning: Tuning;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "baton-held-"));
  model = await loadModelToTune();
  tuning = await open(model);
});
afterAll(async () => {
  tuning.task.close();
  await model.close();
  await rm(folder, { recursive: true, force: true });
});

/** Two prompts of more numbers than are summed in one piece. */
const stages = {
  compress: { virtualTokens: 14, init: "random" },
  answer: { virtualTokens: 21, init: "random" },
} as const;
const open = (on: Model) => openTuning(chainOf(on).definition, { stages, data: records, dev, seed: 5 });

/** The same task, whose parameters this process holds. */
const onHost = (task: TrainingTask<DataItem>): TrainingTask<DataItem> => ({
  parameters: task.parameters,
  prepare: (item, signal) => task.prepare(item, signal),
  release: (item) => task.release(item),
  loss: (items, values, options) => task.loss(items, values, options),
  hold: async (numbers) => new HostParameters(task, numbers),
});

interface Run {
  task?: TrainingTask<DataItem>;
  signal?: AbortSignal;
  onStep?: (step: TuneStep) => void;
}

async function run(options: TrainOptions, { task = tuning.task, signal, onStep }: Run = {}) {
  const result = await train({
    task,
    items: tuning.items,
    dev: tuning.dev,
    initial: tuning.initial,
    settings: checkTrainOptions(options, true),
    identity,
    factsOf,
    signal: signal ?? new AbortController().signal,
    onStep: onStep ?? (() => {}),
    onWarning: (message) => expect(message).toBe(""),
  });
  const told = result.steps.map(({ step, loss, gradientNorm, learningRate }) => {
    return { step, loss, gradientNorm, learningRate };
  });
  return { values: result.values, evaluations: result.evaluations, steps: told };
}

/** Values, moments and best values that a checkpoint has, by name. */
async function numbersIn(path: string): Promise<Record<string, Float32Array>> {
  const { tensors } = parseSafetensors(await readFile(path), path);
  return Object.fromEntries([...tensors].map(([name, { data }]) => [name, data]));
}

const base = { epochs: 3, batchSize: 2, learningRate: 0.05, seed: 3, keep: "last" } as const;
const cases: [string, TrainOptions, (norms: readonly number[]) => boolean][] = [
  ["as it comes", { maxGradientNorm: null }, () => true],
  [
    "decayed, every gradient shortened",
    { weightDecay: 0.3, maxGradientNorm: 1e-3 },
    (norms) => norms.every((norm) => norm > 1e-3),
  ],
  [
    "summed over parts, none shortened",
    { batchSize: 1, accumulation: 3, maxGradientNorm: 1e6, betas: [0.8, 0.95] },
    (norms) => norms.every((norm) => norm < 1e6),
  ],
];

describe("a run", () => {
  it.each(cases)("has optimizer.ts's bits: %s", async (name, options, isSo) => {
    const at = (who: string) => join(folder, `${who} ${name}.safetensors`);
    const host = await run({ ...base, ...options, checkpoint: at("host") }, { task: onHost(tuning.task) });
    const held = await run({ ...base, ...options, checkpoint: at("held") });
    expect(held).toEqual(host);
    expect(await numbersIn(at("held"))).toEqual(await numbersIn(at("host")));
    expect(isSo(host.steps.map(({ gradientNorm }) => gradientNorm))).toBe(true);
    expect(host.values).not.toEqual(tuning.initial);
    expect(Object.keys(await numbersIn(at("held")))).toHaveLength(8);
  });

  it("is the same when it goes on from a checkpoint", async () => {
    const options = { ...base, epochs: 4, weightDecay: 0.1, checkpointEvery: 2 };
    const whole = await run(options, { task: onHost(tuning.task) });
    const checkpoint = join(folder, "resumed.safetensors");
    const controller = new AbortController();
    const reason = new Error("stopped");
    const stopped = run(
      { ...options, checkpoint },
      { signal: controller.signal, onStep: ({ step }) => step === 5 && controller.abort(reason) },
    );
    expect(await failure(stopped)).toBe(reason);
    expect((await openCheckpoint(checkpoint))?.step).toBe(5);
    expect(await run({ ...options, checkpoint, resume: true })).toEqual(whole);
  });

  it("whose model is closed keeps the steps that were made", async () => {
    const options = { ...base, epochs: 4, checkpoint: join(folder, "closed.safetensors") };
    const gone = await loadModelToTune();
    const other = await open(gone);
    const closing = run(options, { task: other.task, onStep: ({ step }) => step === 4 && void gone.close() });
    expect(await failure(closing)).toMatchObject({ code: "CLOSED" });
    other.task.close();
    expect((await openCheckpoint(options.checkpoint))?.step).toBe(4);
    const { checkpoint: _, ...alone } = options;
    expect(await run({ ...options, resume: true })).toEqual(await run(alone, { task: onHost(tuning.task) }));
  });
});

it("gives what it was given, and takes no update when the model is closed", async () => {
  const gone = await loadModelToTune();
  const { task, initial } = await open(gone);
  const numbers = { values: initial, adam: { ...createAdamWState(initial), updates: 7 } };
  const held = await task.hold(numbers);
  expect(await held.numbers()).toEqual(numbers);
  await gone.close();
  const options = {
    learningRate: 1,
    maxGradientNorm: null,
    betas: [0.9, 0.99],
    epsilon: 1,
    weightDecay: 0,
  } as const;
  expect(await failure(held.update(options))).toMatchObject({ code: "CLOSED" });
  expect(await failure(task.hold(numbers))).toMatchObject({ code: "CLOSED" });
  expect(await held.values()).toEqual(initial);
  held.close();
  held.close();
  expect(await failure(held.values())).toMatchObject({ code: "CLOSED" });
  task.close();
});
