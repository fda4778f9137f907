// SPDX-License-Identifier: Apache-2.0
// The part of the seam (types.ts) that takes rows of segments out of the pool and brings them back. What header and notes
// say is the business of src/cache/snapshot; the bytes are described in native/cache/snapshot.h.

import type { ModelHandle, SegmentHandle, SegmentSpec } from "./types.js";

declare const snapshotTag: unique symbol;

/** A snapshot that is being streamed out of a pool, or restored. */
export interface SnapshotHandle {
  readonly [snapshotTag]: true;
}

/** The first `rows` rows of a segment, which must be there; a job may go on writing behind them. */
export interface SnapshotPart {
  segment: SegmentHandle;
  rows: number;
}

export interface SnapshotContent {
  header: Uint8Array;
  notes: Uint8Array;
  /** Their blocks are held from the call on: whatever happens to the segments, the snapshot has these rows. */
  parts: SnapshotPart[];
}

export interface SnapshotFile extends SnapshotContent {
  path: string;
  /** Brought to the disk before its name stands for it. */
  durable: boolean;
}

export interface SnapshotStream {
  snapshot: SnapshotHandle;
  /** What comes before the blocks. */
  head: Uint8Array;
  blocks: number;
  blockBytes: number;
}

export interface OpenedSnapshot {
  snapshot: SnapshotHandle;
  header: Uint8Array;
  notes: Uint8Array;
  blocks: number;
  blockBytes: number;
  /** SHA-256, hex, of everything before the blocks. */
  digest: string;
}

/** Blocks from the first on that are there and right; what is wrong with the next one, or "". */
export interface RestoredBlocks {
  whole: number;
  fault: string;
}

export interface RestoredSegment extends SegmentSpec {
  /** Its blocks in the snapshot, as many as its rows need. */
  first: number;
  blocks: number;
  /** Token ids or embedding rows [count, hidden], in order. */
  content: ({ tokens: Int32Array } | { rows: Float32Array })[];
  /** No more rows; otherwise jobs may append. */
  close: boolean;
}

export interface NativeSnapshots {
  /** Whole or not there. Gives the bytes of the file. `cancel[0] !== 0` stops it. */
  saveSnapshot(model: ModelHandle, file: SnapshotFile, cancel: Int32Array): Promise<number>;
  streamSnapshot(model: ModelHandle, content: SnapshotContent, cancel: Int32Array): Promise<SnapshotStream>;
  readSnapshotBlocks(snapshot: SnapshotHandle, first: number, count: number): Promise<Uint8Array>;
  /** Checks the head. Rejects with IO, SNAPSHOT_INVALID, KV_MISMATCH (version of the format). */
  openSnapshot(path: string): Promise<OpenedSnapshot>;
  /** From the first 64 bytes: bytes before the blocks. */
  snapshotHeadBytes(preamble: Uint8Array): number;
  parseSnapshot(head: Uint8Array): OpenedSnapshot;
  /** Takes all the blocks. Throws CACHE_BUDGET, KV_MISMATCH. */
  beginRestore(model: ModelHandle, snapshot: SnapshotHandle): void;
  /** Of a file. */
  fillRestore(model: ModelHandle, snapshot: SnapshotHandle, cancel: Int32Array): Promise<RestoredBlocks>;
  /** Of a stream: what follows the head, one piece after the other, the last one with `last`. */
  feedRestore(snapshot: SnapshotHandle, bytes: Uint8Array, last: boolean): Promise<RestoredBlocks>;
  /** A segment with blocks that are whole; nobody finds it by its content. */
  takeSegment(model: ModelHandle, snapshot: SnapshotHandle, segment: RestoredSegment): SegmentHandle;
  /** Frees what nobody has taken. Idempotent. */
  releaseSnapshot(snapshot: SnapshotHandle): void;
}
