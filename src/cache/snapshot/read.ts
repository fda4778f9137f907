// SPDX-License-Identifier: Apache-2.0
// Reads snapshots of any rows back into the pool. Restored rows are known under a salt of their own, made of the
// snapshot: what is computed behind them is theirs alone, because what a file says its rows are, nothing here can prove.

import { createHash } from "node:crypto";
import { BatonError, errorFromCode, SnapshotInvalidError } from "../../errors.js";
import type { Model } from "../../model/model.js";
import type { OpenedSnapshot, RestoredBlocks } from "../../native/snapshot-types.js";
import { promptCacheOf } from "../prompt-cache.js";
import type { SegmentView } from "../segment.js";
import { Segment } from "../segment.js";
import type { Row } from "../view.js";
import { checkBinding, mismatch } from "./binding.js";
import type { SegmentEntry, SnapshotHeader } from "./header.js";
import { damaged, parseHeader } from "./header.js";
import type { SnapshotSource } from "./places.js";
import { checkSource, chunksOf, labelOf } from "./places.js";
import { contentOf, decodeRows } from "./rows.js";

export interface RestoreOptions {
  /**
   * true: where a part of the snapshot is damaged or missing, the rows before it are restored, and the report says what
   * was left out. Default false: it is an error.
   */
  partial?: boolean;
  signal?: AbortSignal;
  /** Whose content it is from now on; see CacheOptions. */
  salt?: string;
}

/** How a segment of a snapshot becomes one of the pool. */
export interface TakenSegment {
  start: number;
  /** What it reads; nothing for one that is closed. */
  reads: readonly SegmentView[];
  close: boolean;
}

interface Place {
  first: number;
  rows: readonly Row[];
}

/** A snapshot whose blocks are in the pool. What nobody takes goes with `release`. */
export class RestoredSnapshot {
  readonly header: SnapshotHeader;
  /** Rows that were not computed when it was made. */
  readonly extra: readonly Row[];
  /** Why not all of it is there; null: it is. */
  readonly fault: string | null;
  readonly #init: RestoredInit;
  /** By segment: its first block, and those of its rows that are there. */
  readonly #places: Place[] = [];

  constructor(init: RestoredInit) {
    const { model, header, rows, whole } = init;
    this.header = header;
    this.fault = init.fault;
    this.#init = init;
    const { blockRows } = model.info;
    let [first, row] = [0, 0];
    for (const entry of header.segments) {
      const there = Math.min(entry.rows, Math.max(0, whole - first) * blockRows);
      this.#places.push({ first, rows: rows.slice(row, row + there) });
      first += Math.ceil(entry.rows / blockRows);
      row += entry.rows;
    }
    this.extra = rows.slice(row);
  }

  /** The first rows of a segment, as many as are there. */
  rowsOf(index: number): readonly Row[] {
    return this.#places[index]?.rows ?? [];
  }

  /** The segment with those rows; once. */
  take(index: number, { start, reads, close }: TakenSegment): Segment {
    const { model, opened, salt } = this.#init;
    const { first, rows } = this.#places[index] as Place;
    const handle = model.engine.snapshots.take(opened.snapshot, {
      kind: (this.header.segments[index] as SegmentEntry).kind,
      start,
      reads: reads.map((one) => one.segment.read(one.rows, one.shift)),
      salt: saltOf(opened.digest, index, salt),
      first,
      blocks: Math.ceil(rows.length / model.info.blockRows),
      content: contentOf(rows),
      close,
    });
    return new Segment(model.engine, { start, handle });
  }

  release(): void {
    this.#init.model.engine.snapshots.release(this.#init.opened.snapshot);
  }
}

interface RestoredInit {
  model: Model;
  opened: OpenedSnapshot;
  header: SnapshotHeader;
  /** Of the notes. */
  rows: readonly Row[];
  /** Blocks that are there. */
  whole: number;
  fault: string | null;
  /** Of the tenant. */
  salt: string;
}

interface Reading {
  opened: OpenedSnapshot;
  fill: () => Promise<RestoredBlocks>;
}

/**
 * `check` refuses a header before anything is taken. Errors: SNAPSHOT_INVALID, KV_MISMATCH, CACHE_BUDGET, IO, CLOSED;
 * nothing is held then.
 */
export async function readSnapshot(
  model: Model,
  of: string,
  from: SnapshotSource,
  options: RestoreOptions & { check: (header: SnapshotHeader, label: string) => void },
): Promise<RestoredSnapshot> {
  checkSource(from);
  const { signal, partial = false, salt = "" } = options;
  signal?.throwIfAborted();
  const label = labelOf(from);
  const { snapshots } = model.engine;
  const { opened, fill } = await named(label, () => open(model, from, signal));
  try {
    const header = parseHeader(opened.header, label);
    if (header.of !== of) {
      throw mismatch(label, { field: "of", what: "kind of snapshot", expected: of, found: header.of });
    }
    checkBinding(model, header.binding, label);
    const rows = notesOf(model, opened, header, label);
    options.check(header, label);
    promptCacheOf(model).makeRoom(opened.blocks * model.info.blockBytes);
    snapshots.begin(opened.snapshot);
    const restored = await named(label, fill);
    signal?.throwIfAborted();
    const fault = faultOf(label, restored, partial);
    return new RestoredSnapshot({ model, opened, header, rows, whole: restored.whole, fault, salt });
  } catch (error) {
    snapshots.release(opened.snapshot);
    throw error;
  }
}

/** Throws SNAPSHOT_INVALID. */
function notesOf(model: Model, opened: OpenedSnapshot, header: SnapshotHeader, label: string): Row[] {
  const { blockRows } = model.info;
  const rows = decodeRows(opened.notes, header.rows, model.info);
  const blocks = header.segments.reduce((sum, one) => sum + Math.ceil(one.rows / blockRows), 0);
  const inSegments = header.segments.reduce((sum, one) => sum + one.rows, 0);
  if (rows !== null && inSegments <= rows.length && blocks === opened.blocks) return rows;
  throw damaged(label, "notes", "its notes are not those of its rows");
}

/** Errors of the addon with the file that they are about. */
async function named<T>(label: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!BatonError.isInstance(error) || !["SNAPSHOT_INVALID", "KV_MISMATCH"].includes(error.code))
      throw error;
    const facts = { ...error.facts, path: label };
    throw errorFromCode(error.code, `${label}: ${error.message}`, { facts, cause: error.cause });
  }
}

/** Throws SNAPSHOT_INVALID, unless a part will do. */
function faultOf(label: string, { whole, fault }: RestoredBlocks, partial: boolean): string | null {
  if (fault === "") return null;
  const what = `block ${whole}: ${fault}`;
  if (partial && whole > 0) return what;
  throw new SnapshotInvalidError(
    `${label} is damaged: ${what}. Take another copy of it, make a new one, or restore what comes before with \`partial\`.`,
    { facts: { path: label, part: "block", block: whole } },
  );
}

async function open(model: Model, from: SnapshotSource, signal?: AbortSignal): Promise<Reading> {
  const { snapshots } = model.engine;
  if (typeof from === "string") {
    const opened = await snapshots.open(from);
    return { opened, fill: () => snapshots.fill(opened.snapshot, signal) };
  }
  const chunks = chunksOf(from, signal);
  try {
    const { head, rest } = await readHead(model, chunks);
    const opened = snapshots.parse(head);
    return { opened, fill: () => feed(model, opened, rest, chunks) };
  } catch (error) {
    await chunks.return(undefined).catch(() => {});
    throw error;
  }
}

const preambleBytes = 64;

/** What comes before the blocks, and what came with its last piece. Nothing is allocated that has not come. */
async function readHead(
  model: Model,
  chunks: AsyncGenerator<Uint8Array>,
): Promise<{ head: Uint8Array; rest: Uint8Array }> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  let needed = preambleBytes;
  let known = false;
  while (true) {
    while (bytes < needed) {
      const next = await chunks.next();
      if (next.done === true) return { head: Buffer.concat(pieces), rest: new Uint8Array() };
      pieces.push(next.value);
      bytes += next.value.length;
    }
    const all = Buffer.concat(pieces);
    if (known) return { head: all.subarray(0, needed), rest: all.subarray(needed) };
    needed = model.engine.snapshots.headBytes(all.subarray(0, preambleBytes));
    known = true;
  }
}

async function feed(
  model: Model,
  { snapshot }: OpenedSnapshot,
  rest: Uint8Array,
  chunks: AsyncGenerator<Uint8Array>,
): Promise<RestoredBlocks> {
  const { snapshots } = model.engine;
  try {
    let { fault } = await snapshots.feed(snapshot, rest, false);
    for await (const chunk of chunks) {
      if (fault !== "") break;
      ({ fault } = await snapshots.feed(snapshot, chunk, false));
    }
    return await snapshots.feed(snapshot, new Uint8Array(), true);
  } finally {
    await chunks.return(undefined).catch(() => {});
  }
}

/** Of the snapshot, which is no other's, the segment's place in it, and the tenant. */
function saltOf(digest: string, index: number, tenant: string): string {
  const tenantHash = createHash("sha256").update(tenant).digest("hex");
  return `snapshot/${digest}/${index}/${tenantHash}`;
}
