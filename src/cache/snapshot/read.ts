// SPDX-License-Identifier: Apache-2.0
// Reads snapshots of any rows back into the pool. Restored rows are known under a salt of their own, made of the
// snapshot: what is computed behind them is theirs alone, because what a file says its rows are, nothing here can prove.

import { createHash } from "node:crypto";
import { BatonError, errorFromCode, SnapshotInvalidError } from "../../errors.js";
import type { Model } from "../../model/model.js";
import type { OpenedSnapshot, RestoredBlocks } from "../../native/snapshot-types.js";
import { promptCacheOf } from "../prompt-cache.js";
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

export interface RestoredPart {
  entry: SegmentEntry;
  /** The first of its rows; fewer than the entry has where the snapshot is damaged. */
  rows: readonly Row[];
  segment: Segment;
}

export interface RestoredSnapshot {
  header: SnapshotHeader;
  label: string;
  /** Segments from the first on as far as they are whole; the last one may have fewer rows. */
  parts: RestoredPart[];
  extra: readonly Row[];
  /** Why there is not more; null: all is there. */
  fault: string | null;
}

interface Reading {
  opened: OpenedSnapshot;
  fill: () => Promise<RestoredBlocks>;
}

/** `check` refuses a header before anything is taken. Errors: SNAPSHOT_INVALID, KV_MISMATCH, CACHE_BUDGET, IO, CLOSED. */
export async function readSnapshot(
  model: Model,
  of: string,
  from: SnapshotSource,
  options: RestoreOptions & { check?: (header: SnapshotHeader, label: string) => void },
): Promise<RestoredSnapshot> {
  checkSource(from);
  options.signal?.throwIfAborted();
  const label = labelOf(from);
  const { snapshots } = model.engine;
  const reading = await named(label, () => open(model, from, options.signal));
  const { opened } = reading;
  try {
    const header = parseHeader(opened.header, label);
    if (header.of !== of) {
      throw mismatch(label, { field: "of", what: "kind of snapshot", expected: of, found: header.of });
    }
    checkBinding(model, header.binding, label);
    const rows = decodeRows(opened.notes, header.rows, model.info);
    const blockRows = model.info.blockRows;
    const blocks = header.segments.reduce((sum, one) => sum + Math.ceil(one.rows / blockRows), 0);
    const inSegments = header.segments.reduce((sum, one) => sum + one.rows, 0);
    if (rows === null || inSegments > rows.length || blocks !== opened.blocks) {
      throw damaged(label, "notes", "its notes are not those of its rows");
    }
    options.check?.(header, label);
    promptCacheOf(model).makeRoom(blocks * model.info.blockBytes);
    snapshots.begin(opened.snapshot);
    const restored = await named(label, reading.fill);
    options.signal?.throwIfAborted();
    const fault = faultOf(label, restored, options.partial ?? false);
    const parts = takeParts(model, opened, header, rows, restored.whole, options.salt ?? "");
    return { header, label, parts, extra: rows.slice(inSegments), fault };
  } finally {
    snapshots.release(opened.snapshot);
  }
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

/** Segments of the first `whole` blocks. Whatever fails, none is left. */
function takeParts(
  model: Model,
  { snapshot, digest }: OpenedSnapshot,
  { segments }: SnapshotHeader,
  rows: readonly Row[],
  whole: number,
  tenant: string,
): RestoredPart[] {
  const { blockRows } = model.info;
  const parts: RestoredPart[] = [];
  let block = 0;
  let row = 0;
  try {
    for (const [index, entry] of segments.entries()) {
      const blocks = Math.ceil(entry.rows / blockRows);
      const there = Math.min(blocks, whole - block);
      const own = rows.slice(row, row + (there < blocks ? there * blockRows : entry.rows));
      if (there < blocks && there === 0) break;
      const { kind, start } = entry;
      const open = entry.open && there === blocks;
      const reads = open ? entry.reads.map((read) => readOf(parts, read)) : [];
      const salt = saltOf(digest, index, tenant);
      const content = contentOf(own);
      const restored = { kind, start, reads, salt, first: block, blocks: there, content, close: !open };
      const handle = model.engine.snapshots.take(snapshot, restored);
      parts.push({ entry, rows: own, segment: new Segment(model.engine, { start, handle }) });
      if (there < blocks) break;
      block += blocks;
      row += entry.rows;
    }
    return parts;
  } catch (error) {
    for (const { segment } of parts) segment.release();
    throw error;
  }
}

function readOf(parts: readonly RestoredPart[], [index, rows, shift]: SegmentEntry["reads"][number]) {
  return (parts[index] as RestoredPart).segment.read(rows, shift);
}

/** Of the snapshot, which is no other's, the segment's place in it, and the tenant. */
function saltOf(digest: string, index: number, tenant: string): string {
  const tenantHash = createHash("sha256").update(tenant).digest("hex");
  return `snapshot/${digest}/${index}/${tenantHash}`;
}
