// SPDX-License-Identifier: Apache-2.0
// A trained prompt is good for what it was trained under. Here the use at hand is stated in the same terms, so that
// the difference can be named before anything is computed.

import type { Model } from "../model/model.js";
import type { ContractDifference, ContractSegment, PromptContract, ResolvedPrompt } from "../model/prompt.js";
import { compareContracts } from "../model/prompt.js";
import type { StageSettings } from "./options.js";
import type { Plan, PlannedSegment } from "./plan.js";
import { closerIds, openerTokens } from "./tokens.js";
import type { Layout } from "./types.js";

export interface PromptUse {
  model: Model;
  plan: Plan;
  layout: Layout;
  /** Site of the stage; in a group it stands for all instances. */
  stage: string;
  settings: StageSettings;
  /** Resolved prompts by the stage's site, for the outputs that are read. */
  prompts: ReadonlyMap<string, ResolvedPrompt>;
}

/** The contract under which the stage's prompt is about to be used. `plan` is one in which nothing is decided yet. */
export function contractOfUse({ model, plan, layout, stage, settings, prompts }: PromptUse): PromptContract {
  const { tokenizer, info } = model;
  const describe = ({ kind, site }: PlannedSegment): ContractSegment =>
    kind === "output"
      ? { kind, prompt: prompts.get(site)?.hash ?? null }
      : { kind: "input", alone: plan.inputs.get(site)?.alone ?? false };
  const instances = plan.segments
    .filter((one) => one.kind === "output" && one.site === stage)
    .map((output) => visibleTo(output, plan));
  const { reads, own } = instances[0] ?? { reads: [], own: [] };
  const atZero = reads.length + own.length === 0 && layout === "contiguous";
  const later = distinct(instances.map((one) => one.reads.map(describe))).slice(1);
  return {
    version: 1,
    base: { contentHash: info.contentHash, weightType: info.weightType },
    layout: layout === "contiguous" ? "frames" : "concatenated",
    format: [...reads, ...own].map((one) => plan.inputs.get(one.site)?.format ?? null),
    opener: [...openerTokens(tokenizer, stage, settings.opener, own.length > 0, atZero)],
    lead: settings.lead,
    closers: [...closerIds(tokenizer, stage, settings.closers)],
    reads: reads.map(describe),
    own: own.map(describe),
    ...(later.length === 0 ? {} : { later }),
  };
}

/** What an output reads beside its prompt, the stage's own inputs apart. */
function visibleTo(output: PlannedSegment, plan: Plan): { reads: PlannedSegment[]; own: PlannedSegment[] } {
  const visible = output.reads
    .map((id) => plan.byId.get(id) as PlannedSegment)
    .filter((one) => one.kind !== "prompt");
  const isOwn = (one: PlannedSegment) => one.kind === "input" && one.stage === output.stage;
  return { reads: visible.filter((one) => !isOwn(one)), own: visible.filter(isOwn) };
}

/** Branches all read alike; every round reads more than the one before, and the second shows what. */
function distinct(lists: readonly ContractSegment[][]): ContractSegment[][] {
  const known = new Set<string>();
  return lists.filter((one) => {
    const text = JSON.stringify(one);
    return !known.has(text) && known.add(text);
  });
}

/** Differences to the contract the prompt was trained under; none for a prompt without one. */
export function contractDifferences(prompt: ResolvedPrompt, use: PromptUse): ContractDifference[] {
  return prompt.contract === undefined ? [] : compareContracts(prompt.contract, contractOfUse(use));
}

export function differenceMessage(
  stage: string,
  label: string,
  differences: readonly ContractDifference[],
): string {
  const list = differences.map((one) => `${one.field}: trained ${one.trained}, used ${one.used}`).join("; ");
  return `Stage "${stage}" uses the prompt ${label} otherwise than it was trained (${list}). Expect worse answers.`;
}
