// SPDX-License-Identifier: Apache-2.0
// A training run of the exact task with everything that the loop wants to know.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { PromptFacts } from "../../src/tune/export.js";
import { HostParameters } from "../../src/tune/host-parameters.js";
import type { TrainOptions } from "../../src/tune/settings.js";
import { checkTrainOptions } from "../../src/tune/settings.js";
import type { TuneStep } from "../../src/tune/steps.js";
import type { HeldParameters, ParameterNumbers, TrainingTask } from "../../src/tune/task.js";
import type { TrainResult, TrainRun } from "../../src/tune/train.js";
import { train } from "../../src/tune/train.js";
import { RegressionTask as Regression, regressionItems } from "./regression.mjs";

/** Its parameters are held by the reference. */
export class RegressionTask extends Regression implements TrainingTask<Item> {
  async hold(numbers: ParameterNumbers): Promise<HeldParameters> {
    return new HostParameters(this, numbers);
  }
}

type Item = ReturnType<typeof regressionItems>[number];

export interface Trained {
  result: TrainResult;
  steps: TuneStep[];
  warnings: string[];
  task: RegressionTask;
}

export type Changes = Partial<Omit<TrainRun<Item>, "settings" | "onStep" | "onWarning" | "task">> & {
  task?: RegressionTask;
  onStep?: (step: TuneStep) => void;
  warnings?: string[];
};

/** What an export would say of the task's values. */
export const factsOf = async (values: readonly Float32Array[]): Promise<PromptFacts[]> =>
  values.map(() => ({
    model: { hidden: 3, heads: 1, layers: 1 },
    baseModel: "regression",
    init: { kind: "RANDOM" },
    contract: {
      version: 1,
      base: { contentHash: "aa", weightType: "F32" },
      layout: "frames",
      format: [],
      opener: [1],
      lead: " ",
      closers: [2],
      reads: [],
      own: [],
    },
  }));

export const identity = { model: "m", chain: "c", data: "d" };

/** Trains the regression on 13 items. */
export async function trainRegression(options: TrainOptions, changes: Changes = {}): Promise<Trained> {
  const task = changes.task ?? new RegressionTask();
  const steps: TuneStep[] = [];
  const warnings = changes.warnings ?? [];
  const dev = changes.dev ?? [];
  const result = await train({
    items: regressionItems(13),
    initial: task.initial(),
    identity,
    factsOf,
    signal: new AbortController().signal,
    ...changes,
    task,
    dev,
    settings: checkTrainOptions(options, dev.length > 0),
    onStep: (step) => {
      steps.push(step);
      changes.onStep?.(step);
    },
    onWarning: (message) => warnings.push(message),
  });
  return { result, steps, warnings, task };
}

export const lossesOf = (steps: readonly TuneStep[]): number[] => steps.map(({ loss }) => loss);

/** What `promise` is rejected with. */
export function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error("nothing failed");
    },
    (error: unknown) => error,
  );
}

/** Contents of a folder's files, by name. */
export async function filesOf(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).sort();
  const contents = names.map(async (name) => [name, await readFile(join(folder, name), "base64")]);
  return Object.fromEntries(await Promise.all(contents));
}
