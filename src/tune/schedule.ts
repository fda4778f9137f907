// SPDX-License-Identifier: Apache-2.0
// The learning rate of every step, as transformers' get_scheduler gives it: it rises from 0 over the warm-up and then
// goes as the schedule says, reaching 0 one step after the last. Without warm-up the first step has the whole rate,
// with it the first step has none.

export interface ScheduleSpan {
  /** Steps in all. */
  steps: number;
  /** Steps of them that warm up. */
  warmupSteps: number;
}

/** After the warm-up: the share of the learning rate when `done` (0 to 1) of the remaining steps are made. */
type Decay = (done: number) => number;

/** The schedules by name; a new one is a line here. */
const decays = {
  linear: (done) => Math.max(0, 1 - done),
  cosine: (done) => Math.max(0, 0.5 * (1 + Math.cos(Math.PI * done))),
  constant: () => 1,
} as const satisfies Record<string, Decay>;

export type ScheduleName = keyof typeof decays;

export const scheduleNames = Object.keys(decays) as ScheduleName[];

/** Share of the learning rate in step `step`, counted from 0. */
export function scheduleAt(name: ScheduleName, step: number, { steps, warmupSteps }: ScheduleSpan): number {
  if (step < warmupSteps) return step / warmupSteps;
  return decays[name]((step - warmupSteps) / Math.max(1, steps - warmupSteps));
}

/** Steps of warm-up: below 1 it is a share of all steps, rounded up; from 1 on a number of steps. */
export function warmupStepsOf(warmup: number, steps: number): number {
  return warmup < 1 ? Math.ceil(warmup * steps) : Math.min(warmup, steps);
}
