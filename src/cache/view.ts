// SPDX-License-Identifier: Apache-2.0
// What a cache handle reads: a list of closed segments, each up to some row, linked from the last one back to the
// first, so that handles which fork share everything before the fork and forking costs the same however much that is.
// Links and segments are counted; a segment is released when nobody's view has it any more.

import type { Retention } from "./cache-options.js";
import type { Segment, SegmentView } from "./segment.js";

/** A token id, or an embedding row [hidden]. */
export type Row = number | Float32Array;

/** A segment with what was written to it, held by any number of views. */
export class WrittenSegment {
  readonly segment: Segment;
  readonly rows: Row[] = [];
  #holders = 0;

  constructor(segment: Segment) {
    this.segment = segment;
  }

  hold(): this {
    this.#holders += 1;
    return this;
  }

  /** `retain`: of its blocks, if nobody else holds it; instead of what the segment was made with. */
  drop(retain?: Retention): void {
    this.#holders -= 1;
    if (this.#holders === 0) this.segment.release(retain);
  }
}

/** The first `rows` rows of a closed segment, behind everything of `before`. Made with one holder. */
export class ViewLink {
  readonly before: ViewLink | null;
  readonly written: WrittenSegment;
  readonly rows: number;
  /** Rows of the view up to here. */
  readonly end: number;
  #holders = 1;

  constructor(before: ViewLink | null, written: WrittenSegment, rows: number) {
    this.before = before?.hold() ?? null;
    this.written = written.hold();
    this.rows = rows;
    this.end = endOf(before) + rows;
  }

  hold(): this {
    this.#holders += 1;
    return this;
  }

  /** A loop, not a recursion: a view may be as long as the context. */
  drop(retain?: Retention): void {
    let link: ViewLink | null = this;
    while (link !== null) {
      link.#holders -= 1;
      if (link.#holders > 0) return;
      link.written.drop(retain);
      link = link.before;
    }
  }
}

export function endOf(view: ViewLink | null): number {
  return view?.end ?? 0;
}

/** In view order. All rows stand where they were written: a handle has one frame from its first row on. */
export function readsOf(view: ViewLink | null): SegmentView[] {
  const reads: SegmentView[] = [];
  for (let link = view; link !== null; link = link.before) {
    reads.push({ segment: link.written.segment, rows: link.rows, shift: 0 });
  }
  return reads.reverse();
}

/** All rows of the view, from its first one on. */
export function* rowsOfView(view: ViewLink | null): Generator<Row> {
  const links: ViewLink[] = [];
  for (let link = view; link !== null; link = link.before) links.push(link);
  for (const { written, rows } of links.reverse()) yield* written.rows.slice(0, rows);
}

/** Whether two rows are the same token, or embeddings of the same numbers. */
function sameRow(one: Row, other: Row): boolean {
  if (typeof one === "number" || typeof other === "number") return one === other;
  return one.length === other.length && one.every((value, i) => value === other[i]);
}

/** How many of the first of `wanted` are the first ones of `rows`. */
export function commonRows(rows: Iterable<Row>, wanted: readonly Row[]): number {
  let common = 0;
  for (const row of rows) {
    if (common === wanted.length || !sameRow(row, wanted[common] as Row)) break;
    common += 1;
  }
  return common;
}

export function contains(view: ViewLink | null, wanted: ViewLink | null): boolean {
  let link = view;
  while (link !== wanted && link !== null) link = link.before;
  return link === wanted;
}

/** The view's first `rows` rows, held once. `rows` is at most its end. */
export function prefixOf(view: ViewLink | null, rows: number): ViewLink | null {
  let link = view;
  while (link !== null && endOf(link.before) >= rows) link = link.before;
  if (link === null || link.end === rows) return link?.hold() ?? null;
  return new ViewLink(link.before, link.written, rows - endOf(link.before));
}

/** Row `index` of the view; undefined if it has no such row. */
export function rowOf(view: ViewLink | null, index: number): Row | undefined {
  let link = view;
  while (link !== null && endOf(link.before) > index) link = link.before;
  return link === null || index >= link.end ? undefined : link.written.rows[index - endOf(link.before)];
}
