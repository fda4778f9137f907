// SPDX-License-Identifier: Apache-2.0
// The seam's part of training: a step as it crosses to the addon (method.md, part 3).

import type { SegmentHandle } from "./types.js";

declare const trainedTag: unique symbol;

/** Prompts that are trained, in the memory where the model computes: values, moments and the summed gradient. */
export interface TrainedHandle {
  readonly [trainedTag]: true;
}

export type TrainedKind = "values" | "first" | "second" | "gradient";

/** What trained prompts begin with, by prompt [n, hidden]. */
export interface NativeTrainedStart {
  values: readonly Float32Array[];
  /** Moments of AdamW. */
  first: readonly Float32Array[];
  second: readonly Float32Array[];
  /** Updates that have led here. */
  updates: number;
}

/** An update by the summed gradient: what src/tune/optimizer.ts does, bit for bit. */
export interface NativeTrainUpdate {
  learningRate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
  /** A longer gradient is shortened to it; Infinity: none is. */
  maxNorm: number;
}

/** What a live row reads: exactly one of `segment`, `prompt` and `live` says whose rows. */
export interface NativeTrainRead {
  /** Frozen: KV that is there already and gets no gradient. */
  segment?: SegmentHandle;
  /** Index in the step's `prompts`. */
  prompt?: number;
  /** Index in the item's `segments`, of an earlier one. */
  live?: number;
  /** Its first `rows` rows. */
  rows: number;
  /** Reader's position minus writer's position of the same row. */
  shift: number;
}

/** Live rows of one item: tokens whose states depend on a trained prompt. Their KV lives as long as the step. */
export interface NativeTrainSegment {
  kind: "input" | "output";
  /** Position of row 0 in the segment's own frame. */
  start: number;
  /** [rows] */
  tokens: Int32Array;
  /** [rows] Token id that the row should predict, or -1: the row is not scored. */
  labels: Int32Array;
  /** In view order. */
  reads: NativeTrainRead[];
}

export interface NativeTrainItem {
  segments: NativeTrainSegment[];
  /** The step's loss is the sum over items of `scale` times the mean of the item's scored rows. */
  scale: number;
}

/** Forward of the live rows of some items and, if asked, backward to the trained prompts' rows. */
export interface NativeTrainStep {
  /**
   * Soft rows [n, hidden] at positions start .. start + n - 1; they read nothing but themselves. Exactly one of
   * `rows`, whose gradients come back with the event, and `trained`, the index of a trained prompt, whose gradient stays with it.
   */
  prompts: { start: number; rows?: Float32Array; trained?: number }[];
  /**
   * The trained prompts that are meant. The step's gradient takes the place of the one that they hold, of all of them,
   * or is added to it.
   */
  trained?: { prompts: TrainedHandle; accumulate: boolean };
  items: NativeTrainItem[];
  /** Whether gradients are wanted; without, only losses are computed. */
  gradient: boolean;
  /** Most bytes of activations that may be held; what does not fit is computed twice. Items are taken in turns. */
  activationBytes: number;
}
