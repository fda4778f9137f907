// SPDX-License-Identifier: Apache-2.0
// The part of the seam (types.ts) that describes the KV cache: what it holds, where, and what was not found and why.

export type CachePolicy = "lru" | "cost";
export type TierName = "host" | "disk";
export type RestoreMode = "faster" | "always" | "never";

/** A tier of the cache: what it holds now, and blocks in and out since the model was opened. */
export interface TierStats {
  name: TierName;
  budgetBytes: number;
  usedBytes: number;
  blocks: number;
  blocksWritten: number;
  /** Given back to the pool. */
  blocksRead: number;
  /** Given up for lack of room. */
  blocksEvicted: number;
  /** Found to be other than what was written, and forgotten. */
  blocksDamaged: number;
  /** Of reading, lately; 0: nothing was read yet. */
  bytesPerSecond: number;
  /** False: its storage refuses, and nothing is written any more. */
  writes: boolean;
}

export interface CacheStats {
  budgetBytes: number;
  /** Held by segments. */
  usedBytes: number;
  peakBytes: number;
  /** What segments can still take: kept blocks count as free. */
  freeBytes: number;
  blockBytes: number;
  blockRows: number;
  blocksUsed: number;
  /** Held by no segment, kept to be found again by their content until their room is needed. */
  blocksKept: number;
  blocksTotal: number;
  segments: number;
  /** Nearest first; none without the option `tiers`. */
  tiers: TierStats[];
}

/** Who holds what, counted over all living segments; a block that several hold is counted once. */
export interface CacheCensus {
  promptBlocks: number;
  inputBlocks: number;
  outputBlocks: number;
  /** Held or read by more than one segment. */
  blocksShared: number;
  /** Rows that went through a forward since the model was loaded. */
  rowsComputed: number;
  /** Rows that did not have to: read by new segments, or found by their content. */
  rowsReused: number;
}

/**
 * Why rows were not found: nobody has computed them; they were given up for lack of room; the same rows are known at
 * another place or after other reads; the index has no budget; the last row is computed for its logits, with its
 * block; they do not fill a block of a segment that may grow; a tier has them, and computing them is faster than reading
 * them back. `none`: all were found.
 */
export type MissReason =
  | "none"
  | "never-seen"
  | "evicted"
  | "different-frame"
  | "index-off"
  | "logits-needed"
  | "part-of-block"
  | "computed-faster";

/** Rows that a tier has, and what became of them. */
export interface TierMove {
  /** The farthest of the tiers that have them. */
  tier: TierName;
  rows: number;
  bytes: number;
  /** Read back; false: computed again. */
  restored: boolean;
  /** What either was expected to take, by what was measured lately; 0: nothing was measured yet. */
  restoreMs: number;
  recomputeMs: number;
  /** What reading took for all that the job reads back. */
  tookMs: number;
}
