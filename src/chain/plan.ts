// SPDX-License-Identifier: Apache-2.0
// Who reads what. From the steps of a chain to its segments, in view order, each with the segments its rows read. Pure
// data: no model, no lengths, no positions (those are frame.ts).
//
// A plan is a function of the definition and of how often each group runs: rounds that ran, branches of a fan-out, a
// condition that held or not. What never comes to be is not in the plan, so that a view names real segments only and
// placement needs no special case. A group that has not been decided yet stands in the plan with what it would read
// next, which is what releasing looks ahead for.
//
// A view is never transitive: a segment reads exactly what its list names, whatever those segments read themselves.

import type { SegmentKind } from "../native/types.js";
import { checkNames, ownersOf } from "./names.js";
import type { Scope } from "./planner.js";
import { Planner } from "./planner.js";
import type { Step } from "./steps/step.js";

/** What a segment is called everywhere: "answer", "debate[1].reason", "prompt of answer". */
export type SegmentId = string;

export interface PlannedSegment {
  id: SegmentId;
  kind: SegmentKind;
  /** The input or stage with the groups around it: "debate[1].reason"; a prompt has its stage's, without numbers. */
  name: string;
  /** The step of the definition that writes it: the name without numbers, "debate.reason". */
  site: string;
  /** Name of the stage that alone reads it (prompts, own inputs) or writes it (outputs); null for shared inputs. */
  stage: string | null;
  /** Inputs: the name under which the text is kept; an own input may be declared outside its stage's group. */
  value?: string;
  /** In view order: the prompt if any, the reads in order of declaration and turns, the stage's own inputs. */
  reads: readonly SegmentId[];
}

/** How an input's text becomes tokens and what its KV depends on. */
export interface InputDescription {
  /** Name of the input where it is declared: what its format calls it. */
  name: string;
  /** Text with `{name}` for the value; null: the value as it is. */
  format: string | null;
  alone: boolean;
}

export interface Plan {
  segments: readonly PlannedSegment[];
  byId: ReadonlyMap<SegmentId, PlannedSegment>;
  /** By site. */
  inputs: ReadonlyMap<string, InputDescription>;
  /** Segment id of each stage's prompt, by the stage's site, for stages that have one. */
  promptOf: ReadonlyMap<string, SegmentId>;
}

/** How often groups run, by name ("debate", "votes[2].retry"); a group that is not named is not decided yet. */
export type Counts = ReadonlyMap<string, number>;

/** A round and the one after it: later rounds read no earlier segment that the next one does not read. */
const lookAhead = 2;

export interface PlanOptions {
  counts?: Counts;
  /** Most instances that are listed of a group that is not decided yet. */
  ahead?: number;
  /** Sites of stages that have a prompt whether the definition names one or not: it is still to be tuned. */
  slots?: ReadonlySet<string>;
}

/** The plan of a whole chain. Throws CHAIN_INVALID when the definition contradicts the rules, whatever the counts. */
export function planChain(
  steps: readonly Step[],
  { counts = new Map(), ahead = lookAhead, slots = new Set() }: PlanOptions = {},
): Plan {
  checkNames(steps, new Set());
  const scope: Scope = {
    prefix: "",
    site: "",
    readable: [],
    named: new Map(),
    sites: new Map(),
    listed: new Set(),
  };
  const planner = new Planner(scope, ownersOf(steps), { counts, ahead, slots });
  planner.plan(steps);
  const { segments, byId, inputs, promptOf } = planner;
  return { segments, byId, inputs, promptOf };
}
