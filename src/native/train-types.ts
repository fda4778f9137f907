// SPDX-License-Identifier: Apache-2.0
// The seam's part of training: a step as it crosses to the addon (method.md, part 3).

import type { SegmentHandle } from "./types.js";

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
  /** Soft rows [n, hidden] at positions start .. start + n - 1; they read nothing but themselves. */
  prompts: { start: number; rows: Float32Array }[];
  items: NativeTrainItem[];
  /** Whether gradients are wanted; without, only losses are computed. */
  gradient: boolean;
  /** Most bytes of activations that may be held; what does not fit is computed twice. Items are taken in turns. */
  activationBytes: number;
}
