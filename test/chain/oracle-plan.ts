// SPDX-License-Identifier: Apache-2.0
// The chain under test for a definition in the oracle's terms, and the names by which the two are compared.

import type { Plan, PlannedSegment } from "../../src/chain/plan.js";
import { planChain } from "../../src/chain/plan.js";
import { stepKinds } from "../../src/chain/steps/index.js";
import type { OracleStep } from "./oracle.js";

export function planOf(steps: readonly OracleStep[]): Plan {
  return planChain(
    steps.map((one) => {
      const reads = one.reads === null ? {} : { reads: one.reads };
      if (one.step === "input") return stepKinds.input(one.name, { alone: one.alone, ...reads });
      const prompt = one.promptRows > 0 ? { prompt: { text: "any" } } : {};
      return stepKinds.stage(one.name, { own: one.own, ...reads, ...prompt });
    }),
  );
}

/** "<stage>/prompt" for prompts, else the step's name. */
export function oracleName(plan: Plan, id: number): string {
  const { kind, name } = plan.segments[id] as PlannedSegment;
  return kind === "prompt" ? `${name}/prompt` : name;
}
