// SPDX-License-Identifier: Apache-2.0
// What a training run says about itself while it works: steps, and what the dev data say between them. Plain data, kept
// in checkpoints and written as JSON lines.

export interface StepRows {
  /** Rows of the batch whose states depend on a trained prompt: forward and backward. Prompts not counted. */
  live: number;
  /** Rows that they read and that depend on none. */
  frozen: number;
  /** Frozen rows that did not have to be computed for this step. */
  reused: number;
  /** Rows that went through a forward with gradients, prompts included. */
  computed: number;
}

export interface Evaluation {
  /** Steps done before it; 0: before the first. */
  step: number;
  /** Epochs done, the last one as a fraction. */
  epoch: number;
  /** Mean cross entropy (natural log) over all labelled tokens of the dev data. */
  devLoss: number;
  /** On outputs that the chain generated for the dev data, by name: exactMatch and f1 in percent, or one's own. */
  scores: Readonly<Record<string, number>>;
}

/** Hears of dev items that are done, of all: first those whose loss is known, then those that are scored. */
export type OnEvaluating = (done: number, total: number, of: "evaluate" | "score") => void;

export interface TuneStep {
  /** From 1 on. */
  step: number;
  /** Steps in all, if nothing stops the run early. */
  steps: number;
  /** Epochs done, the one under way as a fraction. */
  epoch: number;
  /** Mean over the step's items of the item's mean cross entropy (natural log), before the update. */
  loss: number;
  learningRate: number;
  /** Of all prompts together, before clipping. */
  gradientNorm: number;
  rows: StepRows;
  /** Rows computed per second of this step. */
  rowsPerSecond: number;
  /** Estimate for what is left of the run, evaluations included. */
  secondsLeft: number;
  /** Present on the first step: before any update. */
  before?: Evaluation;
  /** Present on steps that were followed by an evaluation. */
  evaluation?: Evaluation;
}
