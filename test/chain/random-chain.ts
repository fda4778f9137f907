// SPDX-License-Identifier: Apache-2.0
// Random valid chain definitions with random lengths, in the oracle's terms.

import fc from "fast-check";
import type { OracleInput, OracleStage, OracleStep } from "./oracle.js";
import { oracleSegments } from "./oracle.js";

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
}

const draft = fc.record<Draft>({
  stage: fc.boolean(),
  alone: fc.integer({ min: 0, max: 4 }).map((n) => n === 4),
  narrow: fc.boolean(),
  pick: fc.nat(0xffff),
  own: fc.nat(0xffff),
  promptRows: fc.nat(4),
});

const chosen = (names: readonly string[], bits: number) => names.filter((_, index) => (bits >> index) & 1);

function stepsOf(drafts: readonly Draft[]): OracleStep[] {
  const steps: OracleStep[] = [];
  const owned = new Set<string>();
  const kinds = drafts.map((one, index) => ({ ...one, name: `${one.stage ? "s" : "i"}${index}` }));
  // claims first: an input may be owned by any one stage after it
  const claims = new Map<string, string[]>();
  kinds.forEach((one, index) => {
    if (!one.stage) return;
    const free = kinds.slice(0, index).filter((other) => !other.stage && !owned.has(other.name));
    // one in two at most, so that shared inputs remain
    const own = chosen(
      free.map((other) => other.name),
      one.own & (one.own >> 8),
    );
    if (one.own & 1) own.reverse(); // `own` need not follow the order of declaration
    for (const name of own) owned.add(name);
    claims.set(one.name, own);
  });
  kinds.forEach((one, index) => {
    const before = kinds.slice(0, index);
    const inputs = before.filter((other) => !other.stage && !owned.has(other.name));
    const open = before.filter((other) => other.stage || !owned.has(other.name)).map((other) => other.name);
    if (one.stage) {
      const reads = one.narrow ? chosen(open, one.pick) : null;
      const own = claims.get(one.name) ?? [];
      steps.push({
        step: "stage",
        name: one.name,
        promptRows: one.promptRows,
        own,
        reads,
      } satisfies OracleStage);
      return;
    }
    const reads =
      one.narrow && !one.alone && !owned.has(one.name)
        ? chosen(
            inputs.map((i) => i.name),
            one.pick,
          )
        : null;
    steps.push({ step: "input", name: one.name, alone: one.alone, reads } satisfies OracleInput);
  });
  narrowOwn(steps, kinds);
  return steps;
}

/** An own input may narrow what its stage reads. */
function narrowOwn(steps: OracleStep[], drafts: readonly (Draft & { name: string })[]): void {
  for (const stage of steps) {
    if (stage.step !== "stage") continue;
    const at = steps.indexOf(stage);
    const isOwned = (name: string) => steps.some((one) => one.step === "stage" && one.own.includes(name));
    const all = steps.slice(0, at).filter((one) => one.step === "stage" || !isOwned(one.name));
    const open = all
      .map((one) => one.name)
      .filter((name) => stage.reads === null || stage.reads.includes(name));
    for (const [place, name] of stage.own.entries()) {
      const input = steps.find((one) => one.name === name) as OracleInput;
      const wish = drafts.find((one) => one.name === name) as Draft;
      if (wish.narrow && !input.alone)
        input.reads = chosen([...open, ...stage.own.slice(0, place)], wish.pick);
    }
  }
}

export const randomChain: fc.Arbitrary<RandomChain> = fc
  .record({
    drafts: fc.array(draft, { minLength: 1, maxLength: 8 }),
    rows: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 16, maxLength: 16 }),
    layout: fc.constantFrom("contiguous" as const, "concatenated" as const),
  })
  .map(({ drafts, rows, layout }) => {
    const steps = stepsOf(drafts);
    const lengths = new Map<string, number>();
    oracleSegments(steps).forEach((segment, index) => {
      const stage = steps.find((one): one is OracleStage => `${one.name}/prompt` === segment);
      lengths.set(segment, stage?.promptRows ?? (rows[index % rows.length] as number));
    });
    return { steps, lengths, layout };
  });
