// SPDX-License-Identifier: Apache-2.0
// Where rows stand. Each segment is written in a frame: what it reads is laid end to end from position 0 in view
// order, the segment follows, and a prompt of n rows sits at -n .. -1. A reader whose frame has a segment elsewhere
// than its writer carries a shift for it: reader's position minus writer's, the same for every row.
//
// `concatenated` is the layout of the FTHSS paper (arXiv 2502.11083): one absolute line of all prompts, then
// everything in order; no shifts, and a hole where a reader does not see what stands before it.
//
// Placement depends on the definition and on lengths only; both layouts are linear in the lengths.

import { InternalError } from "../errors.js";
import type { Plan, PlannedSegment, SegmentId } from "./plan.js";
import type { Layout } from "./types.js";

export interface PlacedRead {
  id: SegmentId;
  /** Position of the read segment's row 0 in the reader's frame. */
  at: number;
  /** `at` minus the segment's start in its own frame. */
  shift: number;
}

export interface Placement {
  /** Position of row 0 in the segment's own frame; negative for a prompt of the contiguous layout. */
  start: number;
  reads: PlacedRead[];
}

/** Rows of a segment; asked only for segments that the answer depends on. */
export type LengthOf = (id: SegmentId) => number;

interface LayoutRules {
  startOf(plan: Plan, id: SegmentId, lengthOf: LengthOf): number;
  /** Positions of what `id` reads, in its own frame. */
  readsAt(plan: Plan, id: SegmentId, lengthOf: LengthOf): number[];
  /** Positions that the frame of `id` takes when `rows` rows of `id` are written: what the context must hold. */
  extent(plan: Plan, id: SegmentId, lengthOf: LengthOf, rows: number): number;
}

function segmentAt(plan: Plan, id: SegmentId): PlannedSegment {
  const found = plan.byId.get(id);
  if (found === undefined) throw new InternalError(`Segment "${id}" is not in the plan.`, { facts: { id } });
  return found;
}

function promptRows(plan: Plan, id: SegmentId, lengthOf: LengthOf): number {
  const prompts = segmentAt(plan, id).reads.filter((one) => segmentAt(plan, one).kind === "prompt");
  return prompts.reduce((sum, one) => sum + lengthOf(one), 0);
}

const contiguous: LayoutRules = {
  startOf(plan, id, lengthOf) {
    const { kind, reads } = segmentAt(plan, id);
    if (kind === "prompt") return -lengthOf(id);
    const text = reads.filter((one) => segmentAt(plan, one).kind !== "prompt");
    return text.reduce((sum, one) => sum + lengthOf(one), 0);
  },

  readsAt(plan, id, lengthOf) {
    let next = 0;
    return segmentAt(plan, id).reads.map((one) => {
      if (segmentAt(plan, one).kind === "prompt") return -lengthOf(one);
      const at = next;
      next += lengthOf(one);
      return at;
    });
  },

  extent(plan, id, lengthOf, rows) {
    if (segmentAt(plan, id).kind === "prompt") return rows;
    return promptRows(plan, id, lengthOf) + contiguous.startOf(plan, id, lengthOf) + rows;
  },
};

/** Prompts first in order of their stages, then inputs and outputs in order. */
function absoluteStart(plan: Plan, id: SegmentId, lengthOf: LengthOf): number {
  const own = segmentAt(plan, id);
  const isPrompt = own.kind === "prompt";
  const place = plan.segments.indexOf(own);
  const before = plan.segments.filter((one, at) =>
    one.kind === "prompt" ? !isPrompt || at < place : !isPrompt && at < place,
  );
  return before.reduce((sum, one) => sum + lengthOf(one.id), 0);
}

const concatenated: LayoutRules = {
  startOf: absoluteStart,
  readsAt: (plan, id, lengthOf) => segmentAt(plan, id).reads.map((one) => absoluteStart(plan, one, lengthOf)),
  extent: (plan, id, lengthOf, rows) => absoluteStart(plan, id, lengthOf) + rows,
};

const layouts: Readonly<Record<Layout, LayoutRules>> = { contiguous, concatenated };

export const layoutNames = Object.keys(layouts) as readonly Layout[];

/** Start, reads and shifts of one segment. Lengths are those of what stands before it. */
export function placeSegment(plan: Plan, layout: Layout, id: SegmentId, lengthOf: LengthOf): Placement {
  const rules = layouts[layout];
  const at = rules.readsAt(plan, id, lengthOf);
  return {
    start: rules.startOf(plan, id, lengthOf),
    reads: segmentAt(plan, id).reads.map((one, index) => {
      const position = at[index] as number;
      return { id: one, at: position, shift: position - rules.startOf(plan, one, lengthOf) };
    }),
  };
}

/** Positions the context must hold for `rows` rows of `id` (prompt rows and holes included). */
export function frameExtent(
  plan: Plan,
  layout: Layout,
  id: SegmentId,
  lengthOf: LengthOf,
  rows: number,
): number {
  return layouts[layout].extent(plan, id, lengthOf, rows);
}
