// SPDX-License-Identifier: Apache-2.0
// How long a run will still take: steps as long as the last ones, which forget how long frozen rows took to be computed
// once those are there, and evaluations as long as the last one.

const remembered = 16;

/** Whole multiples of `period` in (from, to]. */
const multiples = (period: number, from: number, to: number): number =>
  Math.floor(to / period) - Math.floor(from / period);

export interface EvaluationPeriods {
  stepsPerEpoch: number;
  evaluateEvery: number | null;
}

export class TimeLeft {
  readonly #steps: number[] = [];
  #evaluation = 0;

  addStep(seconds: number): void {
    this.#steps.push(seconds);
    if (this.#steps.length > remembered) this.#steps.shift();
  }

  addEvaluation(seconds: number): void {
    this.#evaluation = seconds;
  }

  /** Seconds for the steps from `step` (done) to `steps` (all) and their evaluations; NaN before the first step. */
  after(step: number, steps: number, { stepsPerEpoch, evaluateEvery }: EvaluationPeriods): number {
    const each = this.#steps.reduce((sum, one) => sum + one, 0) / this.#steps.length;
    const within = evaluateEvery === null ? 0 : multiples(evaluateEvery, step, steps);
    const evaluations = multiples(stepsPerEpoch, step, steps) + within;
    return each * (steps - step) + this.#evaluation * evaluations;
  }
}
