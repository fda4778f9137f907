// SPDX-License-Identifier: Apache-2.0
// Options of stages and chains, checked once when the chain is defined and completed with their defaults.

import { ChainInvalidError, OptionInvalidError } from "../errors.js";
import type { PromptSource } from "../model/prompt.js";
import type { SamplerOptions } from "../native/types.js";
import { layoutNames } from "./frame.js";
import { checkOptionNames } from "./step-options.js";
import type { ChainOptions, Layout, SamplingOptions, StageOptions } from "./types.js";

export interface StageSettings {
  prompt: PromptSource | null;
  own: readonly string[];
  reads: readonly string[] | undefined;
  /** null: the default opener, chosen with the model at hand. */
  opener: string | null;
  lead: string;
  closers: readonly string[] | null;
  stop: readonly string[];
  maxTokens: number;
  sampler: SamplerOptions;
  /** null: none. */
  logprobs: number | null;
}

interface Range {
  fallback: number;
  valid: (value: number) => boolean;
  range: string;
}

const finite = Number.isFinite;
const whole = Number.isInteger;

type SamplerNumber = Exclude<keyof SamplingOptions, "logitBias" | "logprobs">;

const samplerRanges: Readonly<Record<SamplerNumber, Range>> = {
  temperature: {
    fallback: 0,
    valid: (v) => finite(v) && v >= 0 && v <= 100,
    range: "a number from 0 to 100",
  },
  topK: {
    fallback: 0,
    valid: (v) => whole(v) && v >= 0 && v < 2 ** 31,
    range: "a whole number of at least 0",
  },
  topP: { fallback: 1, valid: (v) => v > 0 && v <= 1, range: "a number above 0 and at most 1" },
  minP: { fallback: 0, valid: (v) => v >= 0 && v < 1, range: "a number of at least 0 and below 1" },
  repetitionPenalty: {
    fallback: 1,
    valid: (v) => v > 0 && v <= 10,
    range: "a number above 0 and at most 10",
  },
  presencePenalty: { fallback: 0, valid: (v) => v >= -2 && v <= 2, range: "a number from -2 to 2" },
  frequencyPenalty: { fallback: 0, valid: (v) => v >= -2 && v <= 2, range: "a number from -2 to 2" },
  seed: {
    fallback: 0,
    valid: (v) => whole(v) && v >= 0 && v < 2 ** 32,
    range: "a whole number from 0 to 4294967295",
  },
};

const tokensRange: Range = {
  fallback: 256,
  valid: (v) => whole(v) && v >= 1 && v < 2 ** 31,
  range: "a whole number of at least 1",
};

const logprobsRange: Range = {
  fallback: 0,
  valid: (v) => whole(v) && v >= 0 && v <= 20,
  range: "a whole number from 0 to 20",
};

function invalid(stage: string, option: string, value: unknown, expected: string): OptionInvalidError {
  return new OptionInvalidError(
    `Stage "${stage}" has \`${option}\` ${describe(value)}, which must be ${expected}.`,
    { facts: { step: stage, option, value: describe(value) } },
  );
}

function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  return Array.isArray(value) ? `[${value.map(describe).join(", ")}]` : String(value);
}

function numeric(stage: string, option: string, value: unknown, { fallback, valid, range }: Range): number {
  if (value === undefined) return fallback;
  if (typeof value !== "number" || !valid(value)) throw invalid(stage, option, value, range);
  return value;
}

function textOption(stage: string, option: string, value: unknown): string | null {
  if (value === undefined) return null;
  if (typeof value !== "string") throw invalid(stage, option, value, "a text");
  return value;
}

/** Texts, none of them empty; null when the option is absent. */
function textList(stage: string, option: string, value: unknown): string[] | null {
  if (value === undefined) return null;
  const list: unknown[] = Array.isArray(value) ? value : [value];
  if (!list.every((one): one is string => typeof one === "string" && one !== "")) {
    throw invalid(stage, option, value, "a text or a list of texts, none of them empty");
  }
  return list;
}

const mostBias = 1e30; // finite in float32, whatever penalties do to it

/** Ids and values of a bias; undefined for none. Whether the model has the ids is checked with the model at hand. */
function logitBiasOption(stage: string, value: unknown): SamplerOptions["logitBias"] {
  if (value === undefined) return undefined;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalid(stage, "logitBias", value, "an object { [token id]: bias }");
  }
  const entries = Object.entries(value);
  for (const [id, bias] of entries) {
    if (!/^(0|[1-9]\d{0,9})$/.test(id) || Number(id) >= 2 ** 31) {
      throw invalid(stage, "logitBias", id, "an object whose keys are token ids");
    }
    const fits = typeof bias === "number" && Math.abs(bias) <= mostBias;
    if (!fits && bias !== Number.NEGATIVE_INFINITY) {
      throw invalid(stage, `logitBias[${id}]`, bias, "a number from -1e30 to 1e30, or -Infinity for a ban");
    }
  }
  if (entries.length === 0) return undefined;
  return {
    ids: Int32Array.from(entries, ([id]) => Number(id)),
    values: Float32Array.from(entries, ([, bias]) => bias as number),
  };
}

/** Throws OPTION_INVALID if the model has not all of the biased tokens, or if no token is left to generate. */
export function checkLogitBias(stage: string, { sampler }: StageSettings, vocab: number): void {
  const { logitBias } = sampler;
  if (logitBias === undefined) return;
  const unknown = logitBias.ids.find((id) => id >= vocab);
  if (unknown !== undefined) {
    throw invalid(stage, "logitBias", unknown, `a token id of this model: 0 to ${vocab - 1}`);
  }
  const banned = logitBias.values.reduce((sum, one) => sum + (one === Number.NEGATIVE_INFINITY ? 1 : 0), 0);
  if (banned === vocab) {
    throw invalid(
      stage,
      "logitBias",
      `-Infinity for all ${vocab} tokens`,
      "one that leaves a token to generate",
    );
  }
}

const stageOptionNames: readonly (keyof StageOptions<string, string>)[] = [
  "prompt",
  "own",
  "reads",
  "opener",
  "lead",
  "closers",
  "stop",
  "maxTokens",
  "temperature",
  "topK",
  "topP",
  "minP",
  "repetitionPenalty",
  "presencePenalty",
  "frequencyPenalty",
  "logitBias",
  "logprobs",
  "seed",
];

/** Throws OPTION_INVALID naming stage, option, value and range; CHAIN_INVALID for a stage without a first row. */
export function checkStageOptions(stage: string, options: StageOptions<string, string>): StageSettings {
  checkOptionNames("Stage", stage, options, stageOptionNames);
  const own = textList(stage, "own", options.own) ?? [];
  const opener = textOption(stage, "opener", options.opener);
  if (opener === "" && own.length === 0) {
    throw new ChainInvalidError(
      `Stage "${stage}" has no row of its own to start from: its opener is empty and it has no own inputs. ` +
        "Leave `opener` out for the default one, give it a text, or name an input in `own`.",
      { facts: { step: stage } },
    );
  }
  const sampler = {} as SamplerOptions;
  for (const name of Object.keys(samplerRanges) as SamplerNumber[]) {
    sampler[name] = numeric(stage, name, options[name], samplerRanges[name]);
  }
  const logitBias = logitBiasOption(stage, options.logitBias);
  if (logitBias !== undefined) sampler.logitBias = logitBias;
  return {
    prompt: options.prompt ?? null,
    own,
    reads: textList(stage, "reads", options.reads) ?? undefined,
    opener,
    lead: textOption(stage, "lead", options.lead) ?? " ",
    closers: textList(stage, "closers", options.closers),
    stop: textList(stage, "stop", options.stop) ?? [],
    maxTokens: numeric(stage, "maxTokens", options.maxTokens, tokensRange),
    sampler,
    logprobs:
      options.logprobs === undefined ? null : numeric(stage, "logprobs", options.logprobs, logprobsRange),
  };
}

export function checkLayout(options: ChainOptions): Layout {
  const layout = options.layout ?? "contiguous";
  if (!layoutNames.includes(layout)) {
    throw new OptionInvalidError(`\`layout\` is ${describe(layout)}. Use ${layoutNames.join(" or ")}.`, {
      facts: { option: "layout", value: String(layout), available: layoutNames },
    });
  }
  return layout;
}

/** Names are written as keys and in formats, so they are identifiers. */
export function checkName(name: unknown): string {
  if (typeof name === "string" && /^[\p{L}_$][\p{L}\p{N}_$-]*$/u.test(name)) return name;
  throw new ChainInvalidError(
    `${describe(name)} is not a name of a step. Use a letter, then letters, digits, "_", "$" or "-".`,
    { facts: { name: describe(name) } },
  );
}
