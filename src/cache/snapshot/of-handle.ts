// SPDX-License-Identifier: Apache-2.0
// Snapshots of cache handles: the closed segments of a view, each read whole or up to some row, and the row that is owed.

import type { Model } from "../../model/model.js";
import type { Row } from "../view.js";
import { endOf, ViewLink, WrittenSegment } from "../view.js";
import type { SnapshotHeader } from "./header.js";
import { damaged, isObject } from "./header.js";
import type { SnapshotSource } from "./places.js";
import type { RestoredSnapshot, RestoreOptions } from "./read.js";
import { readSnapshot } from "./read.js";
import type { SavedSegment, SnapshotInit } from "./write.js";

const kind = "handle";

export interface RestoreReport {
  /** Rows of the handle. */
  rows: number;
  /** Rows that the snapshot has besides and that could not be restored, or could not be believed. */
  rowsLeftOut: number;
  /** Why; null: all rows are there. */
  fault: string | null;
}

export interface RestoredView {
  /** Held once. */
  view: ViewLink | null;
  owed: Row | null;
  /** What the owner of the handle had written beside it. */
  about: unknown;
  report: RestoreReport;
}

/** What of a handle goes into a snapshot; `about`: JSON of whoever owns the handle. */
export function handleContent(
  model: Model,
  view: ViewLink | null,
  owed: Row | null,
  about: unknown = null,
): SnapshotInit {
  const segments: SavedSegment[] = [];
  for (let link = view; link !== null; link = link.before) {
    const { rows, written } = link;
    const entry = { kind: "input", start: endOf(link.before), rows } as const;
    segments.push({ entry, segment: written.segment, rows: written.rows.slice(0, rows) });
  }
  const extra = owed === null ? [] : [owed];
  return { model, of: kind, segments: segments.reverse(), extra, state: { about } };
}

export async function restoreView(
  model: Model,
  from: SnapshotSource,
  options: RestoreOptions,
): Promise<RestoredView> {
  const check = (header: SnapshotHeader, label: string) => checkHandle(model, header, label);
  const restored = await readSnapshot(model, kind, from, { ...options, check });
  const { header, extra, fault } = restored;
  let view: ViewLink | null = null;
  try {
    view = viewOf(restored);
  } finally {
    restored.release();
  }
  const owed = fault === null ? (extra[0] ?? null) : null;
  const rows = endOf(view) + (owed === null ? 0 : 1);
  const { about } = header.state as { about: unknown };
  return { view, owed, about, report: { rows, rowsLeftOut: header.rows - rows, fault } };
}

/** A handle has one frame from its first row on, and no more rows than the context. Throws SNAPSHOT_INVALID. */
function checkHandle(model: Model, { segments, rows, state }: SnapshotHeader, label: string): void {
  let end = 0;
  for (const one of segments) {
    if (one.start !== end || one.kind !== "input" || one.rows === 0) {
      throw damaged(label, "header", "its segments are not those of a cache handle");
    }
    end += one.rows;
  }
  if (rows > model.info.contextLength || rows - end > 1 || !isObject(state)) {
    throw damaged(label, "header", `it says that it has ${rows} rows, of which ${end} are computed`);
  }
}

/** Whatever fails, nothing is left. */
function viewOf(restored: RestoredSnapshot): ViewLink | null {
  let view: ViewLink | null = null;
  try {
    for (const [index, { start }] of restored.header.segments.entries()) {
      const rows = restored.rowsOf(index);
      if (rows.length === 0) break;
      const segment = restored.take(index, { start, reads: [], close: true });
      const written: WrittenSegment = new WrittenSegment(segment).hold();
      for (const row of rows) written.rows.push(row);
      const link: ViewLink = new ViewLink(view, written, rows.length);
      view?.drop();
      written.drop();
      view = link;
    }
    return view;
  } catch (error) {
    view?.drop();
    throw error;
  }
}
