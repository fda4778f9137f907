// SPDX-License-Identifier: Apache-2.0
// The chain under test for a definition in the oracle's terms, and the names by which the two are compared.

import type { Plan } from "../../src/chain/plan.js";
import { planChain } from "../../src/chain/plan.js";
import type { Step } from "../../src/chain/steps/index.js";
import { stepKinds } from "../../src/chain/steps/index.js";
import type { PromptSource, StageOptions } from "../../src/index.js";
import type { OracleGroup, OracleStep } from "./oracle.js";
import { isGroup, oracleCounts } from "./oracle.js";

/** What the steps of a run need besides their places. */
export interface StepExtras {
  promptOf?: (stage: string, rows: number) => PromptSource;
  /** Text of an input; `facts`: round and branch. */
  textOf?: (input: string, facts: object) => string;
  stage?: StageOptions<string, string>;
}

/** A group that will run as often as the oracle says, and could run more often. */
function groupOf({ step, name, count, body }: OracleGroup, extras: StepExtras): Step {
  const inside = { body: stepsOf(body, extras) };
  if (step === "when") return stepKinds.when(name, { ...inside, condition: () => count === 1 });
  if (step === "fan") return stepKinds.fanOut(name, { ...inside, samples: Math.max(1, count) });
  const until = (_: never, { round }: { round: number }) => round + 1 === count;
  return stepKinds.rounds(name, { ...inside, max: count + 2, until });
}

export function stepsOf(steps: readonly OracleStep[], extras: StepExtras = {}): Step[] {
  const { promptOf = () => ({ text: "any" }), textOf = () => "any", stage = {} } = extras;
  return steps.map((one) => {
    if (isGroup(one)) return groupOf(one, extras);
    const reads = one.reads === null ? {} : { reads: one.reads };
    if (one.step === "input") {
      const from = (_: never, facts: object) => textOf(one.name, facts);
      return stepKinds.input(one.name, { alone: one.alone, ...reads, from });
    }
    const prompt = one.promptRows > 0 ? { prompt: promptOf(one.name, one.promptRows) } : {};
    return stepKinds.stage(one.name, { own: one.own, ...reads, ...prompt, ...stage });
  });
}

/** The plan when every group has run as often as the oracle says. */
export function planOf(steps: readonly OracleStep[]): Plan {
  return planChain(stepsOf(steps), { counts: oracleCounts(steps) });
}

/** "<stage>/prompt" for prompts, else the step's name with the groups around it. */
export function oracleName(plan: Plan, id: string): string {
  const segment = plan.byId.get(id);
  if (segment === undefined) throw new Error(`${id} is not in the plan`);
  const { kind, name } = segment;
  return kind === "prompt" ? `${name.split(".").at(-1)}/prompt` : name;
}
