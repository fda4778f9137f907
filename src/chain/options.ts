// SPDX-License-Identifier: Apache-2.0
// Options of stages and chains, checked once when the chain is defined and completed with their defaults.

import type { OutputSettings } from "../cache/output-options.js";
import {
  checkOutputOptions,
  describeValue,
  invalidOf,
  outputOptionNames,
  textList,
} from "../cache/output-options.js";
import { ChainInvalidError, OptionInvalidError } from "../errors.js";
import type { OptionOwner } from "../model/known-options.js";
import { checkKnown } from "../model/known-options.js";
import type { PromptSource } from "../model/prompt.js";
import { didYouMean } from "../suggest.js";
import { layoutNames } from "./frame.js";
import type { ChainOptions, Layout, StageOptions } from "./types.js";

export interface StageSettings extends OutputSettings {
  prompt: PromptSource | null;
  own: readonly string[];
  reads: readonly string[] | undefined;
  /** null: the default opener, chosen with the model at hand. */
  opener: string | null;
  lead: string;
}

function textOption(owner: OptionOwner, option: string, value: unknown): string | null {
  if (value === undefined) return null;
  if (typeof value !== "string") throw invalidOf(owner, option, value, "a text");
  return value;
}

const stageOptionNames: readonly (keyof StageOptions<string, string>)[] = [
  "prompt",
  "own",
  "reads",
  "opener",
  "lead",
  ...outputOptionNames,
];

/** How messages about the options of a stage begin. */
export function stageOwner(stage: string): OptionOwner {
  return { label: `Stage "${stage}"`, facts: { step: stage } };
}

/** Throws OPTION_INVALID naming stage, option, value and range; CHAIN_INVALID for a stage without a first row. */
export function checkStageOptions(stage: string, options: StageOptions<string, string>): StageSettings {
  const owner = stageOwner(stage);
  checkKnown(owner, options, stageOptionNames);
  const own = textList(owner, "own", options.own) ?? [];
  const opener = textOption(owner, "opener", options.opener);
  if (opener === "" && own.length === 0) {
    throw new ChainInvalidError(
      `Stage "${stage}" has no row of its own to start from: its opener is empty and it has no own inputs. ` +
        "Leave `opener` out for the default one, give it a text, or name an input in `own`.",
      { facts: { step: stage } },
    );
  }
  const output = checkOutputOptions(owner, options);
  const lead = textOption(owner, "lead", options.lead);
  if (output.output !== null && lead !== null && lead !== "") {
    throw invalidOf(owner, "lead", lead, "left out beside `output`, which says how the text begins");
  }
  return {
    ...output,
    prompt: options.prompt ?? null,
    own,
    reads: textList(owner, "reads", options.reads) ?? undefined,
    opener,
    lead: lead ?? (output.output === null ? " " : ""),
  };
}

export function checkLayout(options: ChainOptions): Layout {
  const layout = options.layout ?? "contiguous";
  if (!layoutNames.includes(layout)) {
    throw new OptionInvalidError(
      `\`layout\` is ${describeValue(layout)}. Use ${layoutNames.join(" or ")}.${didYouMean(layout, layoutNames)}`,
      {
        facts: { option: "layout", value: String(layout), available: layoutNames },
      },
    );
  }
  return layout;
}

/** Names are written as keys and in formats, so they are identifiers. */
export function checkName(name: unknown): string {
  if (typeof name === "string" && /^[\p{L}_$][\p{L}\p{N}_$-]*$/u.test(name)) return name;
  throw new ChainInvalidError(
    `${describeValue(name)} is not a name of a step. Use a letter, then letters, digits, "_", "$" or "-".`,
    { facts: { name: describeValue(name) } },
  );
}
