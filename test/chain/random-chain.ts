// SPDX-License-Identifier: Apache-2.0
// Random valid chain definitions with random lengths, in the oracle's terms: inputs and stages, some of them in groups
// that run any number of times, some of those in groups again.

import fc from "fast-check";
import type { OracleGroup, OracleInput, OracleStage, OracleStep } from "./oracle.js";
import { isGroup, leavesOf, oracleSegments } from "./oracle.js";

export interface RandomChain {
  steps: OracleStep[];
  lengths: Map<string, number>;
  layout: "contiguous" | "concatenated";
}

/** Choices are bits of these numbers, so that fast-check can shrink a failing chain. */
interface Draft {
  stage: boolean;
  alone: boolean;
  narrow: boolean;
  pick: number;
  own: number;
  promptRows: number;
  group: OracleGroup["step"] | null;
  count: number;
  body: Draft[];
}

const leaf = {
  stage: fc.boolean(),
  alone: fc.integer({ min: 0, max: 4 }).map((n) => n === 4),
  narrow: fc.boolean(),
  pick: fc.nat(0xffff),
  own: fc.nat(0xffff),
  promptRows: fc.nat(4),
  count: fc.nat(3),
};

/** A draft at most `depth` groups deep, groups of these kinds only. */
function draftOf(kinds: readonly OracleGroup["step"][], depth: number): fc.Arbitrary<Draft> {
  const plain = fc.record<Draft>({ ...leaf, group: fc.constant(null), body: fc.constant([]) });
  if (depth === 0 || kinds.length === 0) return plain;
  const body = fc.array(draftOf(kinds, depth - 1), { minLength: 1, maxLength: 2 });
  const group = fc.record<Draft>({ ...leaf, group: fc.constantFrom(...kinds), body });
  return fc.oneof({ weight: 3, arbitrary: plain }, { weight: 1, arbitrary: group });
}

/** The dense forward is quadratic in rows. */
const mostSegments = 14;

const chosen = (names: readonly string[], bits: number) => names.filter((_, index) => (bits >> index) & 1);

function groupOf(draft: Draft, name: string, body: OracleStep[]): OracleGroup {
  const kind = draft.group as OracleGroup["step"];
  const counts = { rounds: Math.max(1, draft.count), when: draft.count % 2, fan: draft.count };
  return { step: kind, name, count: counts[kind], body };
}

/** A step with what may be said of names in its place. */
interface Placed {
  step: OracleInput | OracleStage;
  draft: Draft;
  /** Steps declared before, in its group and around it; groups around it that are rounds. */
  before: (OracleStep | { step: "turns"; name: string })[];
}

function stepsOf(drafts: readonly Draft[]): OracleStep[] {
  let next = 0;
  const placed: Placed[] = [];
  const place = (list: readonly Draft[], outer: Placed["before"]): OracleStep[] => {
    const before = [...outer];
    return list.map((draft) => {
      const name = `${draft.group?.at(0) ?? (draft.stage ? "s" : "i")}${next++}`;
      if (draft.group !== null) {
        const around = draft.group === "rounds" ? [{ step: "turns" as const, name }] : [];
        const group = groupOf(draft, `b${name}`, []);
        group.body = place(draft.body, [...before, ...around.map((one) => ({ ...one, name: group.name }))]);
        before.push(group);
        return group;
      }
      const { alone, promptRows } = draft;
      const step: OracleInput | OracleStage = draft.stage
        ? { step: "stage", name, promptRows, own: [], reads: null }
        : { step: "input", name, alone, reads: null };
      placed.push({ step, draft, before: [...before] });
      before.push(step);
      return step;
    });
  };
  const steps = place(drafts, []);
  const owned = claim(placed);
  narrow(placed, owned);
  return steps;
}

/** An input may be owned by any one stage after it. */
function claim(placed: readonly Placed[]): Set<string> {
  const owned = new Set<string>();
  for (const { step, draft, before } of placed) {
    if (step.step !== "stage") continue;
    const free = before.filter((one) => one.step === "input" && !owned.has(one.name));
    // one in two at most, so that shared inputs remain
    step.own = chosen(
      free.map((one) => one.name),
      draft.own & (draft.own >> 8),
    );
    if (draft.own & 1) step.own.reverse(); // `own` need not follow the order of declaration
    for (const name of step.own) owned.add(name);
  }
  return owned;
}

function narrow(placed: readonly Placed[], owned: ReadonlySet<string>): void {
  const open = ({ before }: Placed) => before.filter((one) => !owned.has(one.name)).map((one) => one.name);
  for (const one of placed) {
    const { step, draft, before } = one;
    if (!draft.narrow) continue;
    if (step.step === "stage") step.reads = chosen(open(one), draft.pick);
    else if (!step.alone && !owned.has(step.name)) {
      const inputs = before.filter((other) => other.step === "input" && !owned.has(other.name));
      step.reads = chosen(
        inputs.map((other) => other.name),
        draft.pick,
      );
    }
  }
  narrowOwn(placed, open);
}

/** An own input may narrow what its stage reads. */
function narrowOwn(placed: readonly Placed[], open: (one: Placed) => string[]): void {
  for (const one of placed) {
    const { step } = one;
    if (step.step !== "stage") continue;
    const told = open(one).filter((name) => step.reads === null || step.reads.includes(name));
    for (const [at, name] of step.own.entries()) {
      const own = placed.find((other) => other.step.name === name) as Placed;
      if (own.step.step !== "input" || own.step.alone || !own.draft.narrow) continue;
      own.step.reads = chosen([...told, ...step.own.slice(0, at)], own.draft.pick);
    }
  }
}

const hasFan = (steps: readonly OracleStep[]): boolean =>
  steps.some((one) => isGroup(one) && (one.step === "fan" || hasFan(one.body)));

/** `kinds`: the kinds of group that may occur. */
export function randomChains(kinds: readonly OracleGroup["step"][]): fc.Arbitrary<RandomChain> {
  return fc
    .record({
      drafts: fc.array(draftOf(kinds, 2), { minLength: 1, maxLength: 7 }),
      rows: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 16, maxLength: 16 }),
      layout: fc.constantFrom("contiguous" as const, "concatenated" as const),
    })
    .map(({ drafts, rows, layout }) => {
      const steps = stepsOf(drafts);
      const prompts = new Map(
        leavesOf(steps).map((one) => [`${one.name}/prompt`, one.step === "stage" ? one.promptRows : 0]),
      );
      const lengths = new Map<string, number>();
      oracleSegments(steps).forEach((segment, index) => {
        lengths.set(segment, prompts.get(segment) ?? (rows[index % rows.length] as number));
      });
      // branches would wait for each other's lengths on one absolute line
      return { steps, lengths, layout: hasFan(steps) ? ("contiguous" as const) : layout };
    })
    .filter(({ lengths }) => lengths.size > 0 && lengths.size <= mostSegments);
}

export const randomChain = randomChains(["rounds", "when", "fan"]);
