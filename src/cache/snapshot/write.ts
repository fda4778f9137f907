// SPDX-License-Identifier: Apache-2.0
// Writes snapshots of any rows: to a file by the addon's threads, or to a stream piece by piece.

import { randomUUID } from "node:crypto";
import type { Model } from "../../model/model.js";
import type { SnapshotContent, SnapshotStream } from "../../native/snapshot-types.js";
import type { Segment } from "../segment.js";
import type { Row } from "../view.js";
import { bindingOf } from "./binding.js";
import type { SegmentEntry } from "./header.js";
import { encodeHeader } from "./header.js";
import type { SnapshotTarget } from "./places.js";
import { checkTarget, pour } from "./places.js";
import { encodeRows } from "./rows.js";

export interface SnapshotOptions {
  /** Stops the work; a file is then not there, or as it was. */
  signal?: AbortSignal;
  /**
   * Of a file: brought to the disk before its name stands for it, so that a loss of power leaves the old content or the
   * new one; slower. Default false: that much holds for a crash of the process; after a loss of power a file may be
   * damaged, which is told when it is restored.
   */
  durable?: boolean;
}

export interface SnapshotReport {
  rows: number;
  blocks: number;
  bytes: number;
}

/** A segment with its first `rows` rows, which are closed or will not be taken back. */
export interface SavedSegment {
  entry: SegmentEntry;
  segment: Segment;
  rows: readonly Row[];
}

export interface SnapshotInit {
  model: Model;
  /** What is restored from it. */
  of: string;
  segments: readonly SavedSegment[];
  /** Rows that are not computed, for the notes. */
  extra?: readonly Row[];
  state: unknown;
}

const pieceBytes = 4 << 20;

function contentOf({ model, of, segments, extra = [], state }: SnapshotInit): SnapshotContent {
  const rows = [...segments.flatMap((one) => one.rows), ...extra];
  const header = encodeHeader({
    of,
    id: randomUUID(),
    binding: { ...bindingOf(model) },
    segments: segments.map(({ entry }) => entry),
    rows: rows.length,
    state,
  });
  const parts = segments.filter(({ entry }) => entry.rows > 0);
  return {
    header,
    notes: encodeRows(rows),
    parts: parts.map(({ segment, entry }) => segment.part(entry.rows)),
  };
}

function reportOf({ model, segments }: SnapshotInit): Omit<SnapshotReport, "bytes"> {
  const { blockRows } = model.info;
  let [rows, blocks] = [0, 0];
  for (const { entry } of segments) {
    rows += entry.rows;
    blocks += Math.ceil(entry.rows / blockRows);
  }
  return { rows, blocks };
}

/**
 * What is to be saved is held from the call on. Rejects with OPTION_INVALID, IO, CLOSED, the signal's reason, or what the
 * stream throws.
 */
export async function writeSnapshot(
  init: SnapshotInit,
  to: SnapshotTarget,
  { signal, durable = false }: SnapshotOptions,
): Promise<SnapshotReport> {
  checkTarget(to);
  signal?.throwIfAborted();
  if (typeof to === "string") {
    const file = { ...contentOf(init), path: to, durable };
    return { ...reportOf(init), bytes: await init.model.engine.snapshots.save(file, signal) };
  }
  let bytes = 0;
  const pieces = streamPieces(init, signal);
  const counted = async function* () {
    for await (const piece of pieces) {
      bytes += piece.length;
      yield piece;
    }
  };
  try {
    await pour(counted(), to, signal);
  } finally {
    await pieces.return(undefined);
  }
  return { ...reportOf(init), bytes };
}

/** The snapshot as it would be in a file, in pieces. What is to be saved is held from the call on. */
export function streamSnapshot(init: SnapshotInit, signal?: AbortSignal): ReadableStream<Uint8Array> {
  signal?.throwIfAborted();
  return ReadableStream.from(streamPieces(init, signal));
}

function streamPieces(init: SnapshotInit, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  const streaming = init.model.engine.snapshots.stream(contentOf(init), signal);
  streaming.catch(() => {}); // who reads the pieces hears it
  return piecesOf(init.model, streaming);
}

/** The head, then the blocks, some at a time. */
async function* piecesOf(model: Model, streaming: Promise<SnapshotStream>): AsyncGenerator<Uint8Array> {
  const { snapshots } = model.engine;
  const { snapshot, head, blocks, blockBytes } = await streaming;
  try {
    yield head;
    const step = Math.max(1, Math.floor(pieceBytes / blockBytes));
    for (let first = 0; first < blocks; first += step) {
      yield await snapshots.blocks(snapshot, first, Math.min(step, blocks - first));
    }
  } finally {
    snapshots.release(snapshot);
  }
}
