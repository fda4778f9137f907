// SPDX-License-Identifier: Apache-2.0
// The chain under test for a definition in the oracle's terms, and the names by which the two are compared.

import type { Plan } from "../../src/chain/plan.js";
import { planChain } from "../../src/chain/plan.js";
import type { Step } from "../../src/chain/steps/index.js";
import { stepKinds } from "../../src/chain/steps/index.js";
import type { OracleStep } from "./oracle.js";
import { oracleCounts } from "./oracle.js";

/** What the steps of a run need besides their places. */
export interface StepExtras {
  promptOf?: (stage: string, rows: number) => { text: string } | { rows: Float32Array; count: number };
  textOf?: (input: string) => string;
  stage?: { maxTokens: number; closers: string[]; lead: string };
}

const anyPrompt = () => ({ text: "any" });

export function stepsOf(steps: readonly OracleStep[], extras: StepExtras = {}): Step[] {
  const { promptOf = anyPrompt, textOf = () => "any", stage = {} } = extras;
  return steps.map((one) => {
    if (one.step === "rounds") {
      const { name, count } = one;
      const until = (_: never, { round }: { round: number }) => round + 1 === count;
      return stepKinds.rounds(name, { body: stepsOf(one.body, extras), max: count + 2, until });
    }
    const reads = "reads" in one && one.reads !== null ? { reads: one.reads } : {};
    if (one.step === "input") {
      return stepKinds.input(one.name, { alone: one.alone, ...reads, from: () => textOf(one.name) });
    }
    if (one.step !== "stage") throw new Error(`no such group: ${one.step}`);
    const prompt = one.promptRows > 0 ? { prompt: promptOf(one.name, one.promptRows) } : {};
    return stepKinds.stage(one.name, { own: one.own, ...reads, ...prompt, ...stage });
  });
}

/** The plan when every group has run as often as the oracle says. */
export function planOf(steps: readonly OracleStep[]): Plan {
  return planChain(stepsOf(steps), oracleCounts(steps));
}

/** "<stage>/prompt" for prompts, else the step's name with the groups around it. */
export function oracleName(plan: Plan, id: string): string {
  const segment = plan.byId.get(id);
  if (segment === undefined) throw new Error(`${id} is not in the plan`);
  const { kind, name } = segment;
  return kind === "prompt" ? `${name.split(".").at(-1)}/prompt` : name;
}
