// SPDX-License-Identifier: Apache-2.0
// Which rows training computes when (method.md, part 3). Live: their states depend on a trained prompt, through views,
// transitively, and a label depends on them; computed in every step, forward and backward. Frozen: they depend on none,
// and a label depends on them; computed once per item. Unneeded: no label depends on them; never computed. All rows of a
// segment are of one kind: they read the same, and the last of them is scored or read.

import type { Plan, SegmentId } from "../chain/plan.js";

export type RowKind = "live" | "frozen" | "unneeded";

/**
 * Kind of every segment, prompts included. `trained`: ids of prompts. `labelled`: ids of segments some of whose rows
 * are scored.
 */
export function kindsOf(
  plan: Plan,
  trained: ReadonlySet<SegmentId>,
  labelled: ReadonlySet<SegmentId>,
): Map<SegmentId, RowKind> {
  const needed = new Set(labelled);
  for (const { id, reads } of [...plan.segments].reverse()) {
    if (needed.has(id)) for (const one of reads) needed.add(one);
  }
  const moved = new Set(trained); // their states change with a trained prompt
  for (const { id, reads } of plan.segments) {
    if (reads.some((one) => moved.has(one))) moved.add(id);
  }
  const kind = (id: SegmentId): RowKind => {
    if (!needed.has(id)) return "unneeded";
    return moved.has(id) ? "live" : "frozen";
  };
  return new Map(plan.segments.map(({ id }) => [id, kind(id)]));
}

/**
 * Sites that outputs of `sites` may depend on, these included, however often groups run: the plan lists few of many
 * rounds, so that what one round reads of another is followed by name.
 */
export function sitesBehind(plan: Plan, sites: Iterable<string>): Set<string> {
  const found = new Set(sites);
  for (let before = -1; before < found.size; ) {
    before = found.size;
    for (const { site, reads } of plan.segments) {
      if (!found.has(site)) continue;
      for (const id of reads) found.add(plan.byId.get(id)?.site ?? site);
    }
  }
  return found;
}
