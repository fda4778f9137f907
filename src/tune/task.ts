// SPDX-License-Identifier: Apache-2.0
// What a training run works on, and nothing of how it is optimised: the trainable parameters, items that are ready to
// be stepped over, and the loss of some of them with its gradients (method.md, part 3). The loop in train.ts knows no
// chain; the task knows no optimiser, but it holds what one works on where it computes.

import type { AdamWOptions, AdamWState } from "./optimizer.js";

/** Trainable soft rows of one stage. */
export interface Parameter {
  /** Site of the stage, e.g. "answer" or "debate.reason". */
  stage: string;
  /** Virtual tokens. */
  rows: number;
  /** Width of the model. */
  hidden: number;
}

/** Rows of an item by what training has to do with them. */
export interface RowCounts {
  /** Their states depend on a trained prompt, and a label on them: computed in every step. Prompts not counted. */
  live: number;
  /** Read by live rows, and depending on no trained prompt: computed once, kept. */
  frozen: number;
  /** No label depends on them: never computed. */
  unneeded: number;
  /** Scored rows. */
  labels: number;
}

/** An item of the data whose frozen rows are at hand; the task's own business otherwise. */
export interface PreparedItem {
  /** Where it comes from, for messages: "train.jsonl:17". */
  readonly origin: string;
  readonly rows: RowCounts;
  /** Frozen rows that did not have to be computed, because they were kept or found by their content. */
  readonly reused: number;
}

export interface Losses {
  /** By item: the sum of the cross entropies (natural log) of its scored rows. */
  losses: Float64Array;
  /** Rows that went through a forward, prompts included. */
  rowsComputed: number;
}

export interface LossOfItems extends Losses {
  /**
   * By parameter [rows, hidden]: of the sum over items of `scale` times the item's mean loss. Empty if not asked for.
   * The arrays are the caller's from then on.
   */
  gradients: Float32Array[];
}

/** What there is of the parameters between two updates; by parameter. */
export interface ParameterNumbers {
  /** [rows, hidden] */
  values: Float32Array[];
  adam: AdamWState;
}

export interface UpdateOptions extends AdamWOptions {
  learningRate: number;
  /** A longer gradient is shortened to it; null: none is. */
  maxGradientNorm: number | null;
}

export interface UpdateOutcome {
  /** Length of the gradient before it is shortened. Where it is no finite number, nothing was changed. */
  norm: number;
  /** All values are finite numbers. */
  finite: boolean;
}

/** The parameters where the task computes: values, moments, and a gradient that steps sum. */
export interface HeldParameters {
  /**
   * Loss of prepared items under the values. `gradient` says what becomes of that of the sum over items of `scale` times
   * the item's mean loss: it takes the place of the one that is held ("first"), or is added to it ("more").
   */
  loss(
    items: readonly PreparedItem[],
    options: { gradient: "none" | "first" | "more"; scale: number; signal?: AbortSignal },
  ): Promise<Losses>;
  /** One step of AdamW with the held gradient; whole or not at all. */
  update(options: UpdateOptions): Promise<UpdateOutcome>;
  /** Copies; also after the model was closed. */
  values(): Promise<Float32Array[]>;
  numbers(): Promise<ParameterNumbers>;
  /** Frees them. Idempotent. */
  close(): void;
}

export interface TrainingTask<Item> {
  readonly parameters: readonly Parameter[];
  /** Computes (or finds) the item's frozen rows. The same item may be prepared again in every epoch. */
  prepare(item: Item, signal?: AbortSignal): Promise<PreparedItem>;
  /** Loss of prepared items under `values` (by parameter, [rows, hidden]); gradients with `scale` of each item. */
  loss(
    items: readonly PreparedItem[],
    values: readonly Float32Array[],
    options: { gradient: boolean; scale: number; signal?: AbortSignal },
  ): Promise<LossOfItems>;
  /** Parameters that begin as `numbers`, which stay as they are; the caller closes them. */
  hold(numbers: ParameterNumbers): Promise<HeldParameters>;
  /** Frees what is held for an item until it is prepared again. */
  release(item: PreparedItem): void;
}
