// SPDX-License-Identifier: Apache-2.0
// The header of a snapshot: JSON that says what its rows are. It comes from a file that nobody vouches for, so every
// number in it is checked before anything is done with it.

import { SnapshotInvalidError } from "../../errors.js";
import type { SegmentKind } from "../../native/types.js";

/** One segment, in the order of its blocks. */
export interface SegmentEntry {
  kind: SegmentKind;
  /** Frame position of row 0. */
  start: number;
  rows: number;
}

export interface SnapshotHeader {
  /** What is restored from it. */
  of: string;
  /** Drawn when it was made, so that no two snapshots are the same. */
  id: string;
  /** See KvBinding. */
  binding: Readonly<Record<string, unknown>>;
  segments: readonly SegmentEntry[];
  /** Of the notes. */
  rows: number;
  /** What the owner wants back, to be checked by the owner. */
  state: unknown;
}

const mostPosition = 2 ** 30;

export function damaged(label: string, part: string, what: string, cause?: unknown): SnapshotInvalidError {
  return new SnapshotInvalidError(
    `${label} is damaged: ${what}. Take another copy of it, or make a new one.`,
    { facts: { path: label, part }, cause },
  );
}

export function encodeHeader(header: SnapshotHeader): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(header));
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isInteger = (value: unknown, least: number, most: number): value is number =>
  Number.isInteger(value) && (value as number) >= least && (value as number) <= most;

const kinds: readonly unknown[] = ["prompt", "input", "output"] satisfies SegmentKind[];

function isEntry(value: unknown): value is SegmentEntry {
  if (!isObject(value)) return false;
  const { kind, start, rows } = value;
  return (
    kinds.includes(kind) && isInteger(start, -mostPosition, mostPosition) && isInteger(rows, 0, mostPosition)
  );
}

/** Throws SNAPSHOT_INVALID. `state` and `binding` are left to whoever knows them. */
export function parseHeader(bytes: Uint8Array, label: string): SnapshotHeader {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw damaged(label, "header", "its header is no JSON", cause);
  }
  if (!isObject(value)) throw damaged(label, "header", "its header is no object");
  const { of, id, binding, segments, rows } = value;
  if (typeof of !== "string" || typeof id !== "string" || !isObject(binding)) {
    throw damaged(label, "header", "its header does not say what it is");
  }
  if (!Array.isArray(segments) || !segments.every(isEntry) || !isInteger(rows, 0, mostPosition)) {
    throw damaged(label, "header", "its header does not say which rows it has");
  }
  return value as unknown as SnapshotHeader;
}
