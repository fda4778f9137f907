// SPDX-License-Identifier: Apache-2.0
// How a run is optimised: options as users give them, checked once and completed with their defaults.

import { OptionInvalidError } from "../errors.js";
import type { Identity } from "./checkpoint.js";
import type { ScheduleName } from "./schedule.js";
import { scheduleNames } from "./schedule.js";

export interface TrainOptions {
  /** Passes over the data; default 3. */
  epochs?: number;
  /** Items computed at once; default 8. */
  batchSize?: number;
  /** Batches whose gradients make one step; default 1. */
  accumulation?: number;
  /** Highest learning rate; default 0.01. */
  learningRate?: number;
  /** What it does after the warm-up; default "linear", to 0. */
  schedule?: ScheduleName;
  /** Below 1: share of all steps, rounded up; from 1 on: steps. Default 0.03. */
  warmup?: number;
  /** AdamW's; default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** AdamW's; default 1e-8. */
  epsilon?: number;
  /** AdamW's, times the learning rate; default 0. */
  weightDecay?: number;
  /** Longer gradients are shortened to this length, all prompts together; null: never. Default 1. */
  maxGradientNorm?: number | null;
  /** 32-bit seed of the order of items (and of random initial rows); default 0. */
  seed?: number;
  /** Every epoch in an order of its own; default true. */
  shuffle?: boolean;
  /** Evaluate on the dev data every so many steps, besides epochs' ends; default: at epochs' ends only. */
  evaluateEvery?: number | null;
  /** Stop after so many evaluations without a lower dev loss; null (default): never. */
  patience?: number | null;
  /** Which rows are the result: of the lowest dev loss (default with dev data), or the last. */
  keep?: "best" | "last";
  /** File for checkpoints; null (default): none. */
  checkpoint?: string | null;
  /** Steps from one checkpoint to the next; default 50. One is written on a cancel and at the end, too. */
  checkpointEvery?: number;
  /**
   * Go on from the checkpoint if there is one; default false. The losses are those of a run that never stopped: bit for
   * bit on one machine with a model loaded as `batchInvariant`.
   */
  resume?: boolean;
}

export type TrainSettings = Required<TrainOptions>;

const count = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 1;
const finite = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
const bool = (value: unknown): boolean => typeof value === "boolean";
const orNull = (valid: (value: unknown) => boolean) => (value: unknown) => value === null || valid(value);
const isBeta = (value: unknown): boolean => finite(value) && value >= 0 && value < 1;
const wholeFrom1 = "a whole number from 1 on";

/** Default, test and words for every option. */
const rules: {
  readonly [K in keyof TrainSettings]: readonly [TrainSettings[K], (value: unknown) => boolean, string];
} = {
  epochs: [3, count, wholeFrom1],
  batchSize: [8, count, wholeFrom1],
  accumulation: [1, count, wholeFrom1],
  learningRate: [1e-2, (v) => finite(v) && v > 0, "a number above 0"],
  schedule: [
    "linear",
    (v) => scheduleNames.includes(v as ScheduleName),
    `one of ${scheduleNames.join(", ")}`,
  ],
  warmup: [
    0.03,
    (v) => finite(v) && v >= 0 && (v < 1 || Number.isSafeInteger(v)),
    "a share of the steps below 1, or a whole number of steps",
  ],
  betas: [
    [0.9, 0.999],
    (v) => Array.isArray(v) && v.length === 2 && v.every(isBeta),
    "two numbers from 0 to below 1",
  ],
  epsilon: [1e-8, (v) => finite(v) && v > 0, "a number above 0"],
  weightDecay: [0, (v) => finite(v) && v >= 0, "a number of at least 0"],
  maxGradientNorm: [1, orNull((v) => finite(v) && v > 0), "a number above 0, or null"],
  seed: [
    0,
    (v) => Number.isInteger(v) && (v as number) >= 0 && (v as number) < 2 ** 32,
    "a whole number from 0 to 4294967295",
  ],
  shuffle: [true, bool, "true or false"],
  evaluateEvery: [null, orNull(count), `${wholeFrom1}, or null`],
  patience: [null, orNull(count), `${wholeFrom1}, or null`],
  keep: ["best", (v) => v === "best" || v === "last", '"best" or "last"'],
  checkpoint: [null, orNull((v) => typeof v === "string" && v !== ""), "the path of a file, or null"],
  checkpointEvery: [50, count, wholeFrom1],
  resume: [false, bool, "true or false"],
};

export const trainOptionNames = Object.keys(rules) as (keyof TrainOptions)[];

const shown = (value: unknown): string =>
  typeof value === "number" ? String(value) : (JSON.stringify(value) ?? String(value));

function invalid(option: string, value: unknown, expected: string): OptionInvalidError {
  return new OptionInvalidError(
    `The option \`${option}\` of tune is ${shown(value)}; it must be ${expected}.`,
    {
      facts: { option, value: shown(value) },
    },
  );
}

/** Options of `given` that are train's, complete. `hasDev`: there are dev data. Throws OPTION_INVALID. */
export function checkTrainOptions(given: TrainOptions, hasDev: boolean): TrainSettings {
  const settings: Record<string, unknown> = {};
  for (const name of trainOptionNames) {
    const [fallback, valid, expected] = rules[name];
    const value = given[name] === undefined ? fallback : given[name];
    if (!valid(value)) throw invalid(name, value, expected);
    settings[name] = value;
  }
  const complete = settings as unknown as TrainSettings;
  if (!hasDev && given.keep === undefined) complete.keep = "last";
  const needsDev = [
    complete.keep === "best" ? "keep" : null,
    complete.patience === null ? null : "patience",
    complete.evaluateEvery === null ? null : "evaluateEvery",
  ].find((name) => name !== null);
  if (!hasDev && needsDev) {
    const value = complete[needsDev as keyof TrainSettings];
    throw invalid(needsDev, value, "left out without dev data: give `dev`, or leave it out");
  }
  if (complete.resume && complete.checkpoint === null) {
    throw invalid("resume", true, "given with the checkpoint to go on from: give `checkpoint`");
  }
  return complete;
}

/** What the order of items depends on besides the data: a run that goes on must have the same. */
export function orderIdentity(settings: TrainSettings, items: number): Identity {
  const { batchSize, accumulation, seed, shuffle } = settings;
  return {
    items: String(items),
    itemsPerStep: String(batchSize * accumulation),
    seed: String(seed),
    shuffle: String(shuffle),
  };
}

/** Settings that a run which goes on may change; its losses then change, too. */
export function changeable(settings: TrainSettings): Identity {
  const { learningRate, schedule, warmup, betas, epsilon, weightDecay, maxGradientNorm, epochs } = settings;
  const all = { learningRate, schedule, warmup, betas, epsilon, weightDecay, maxGradientNorm, epochs };
  return Object.fromEntries(Object.entries(all).map(([name, value]) => [name, JSON.stringify(value)]));
}
