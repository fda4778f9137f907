// SPDX-License-Identifier: Apache-2.0
// What decides an output besides what it reads: sampling, and where it ends. Stages and cache handles take the same
// options; they are checked here once, first without a model and then against the model at hand.

import { OptionInvalidError } from "../errors.js";
import type { OptionOwner } from "../model/known-options.js";
import type { Model } from "../model/model.js";
import { draftingModes } from "../model/options.js";
import type { Tokenizer } from "../model/tokenizer.js";
import type { Drafting, GenerateSpec, SamplerOptions } from "../native/types.js";
import type { OutputForm, OutputSchema } from "./output-schema.js";
import { checkOutputSchema } from "./output-schema.js";

export interface SamplingOptions {
  /** 0 (default) is greedy; at most 100. */
  temperature?: number;
  /** Keep the k likeliest tokens; 0 (default) keeps all. */
  topK?: number;
  /** Keep the smallest set of tokens with this probability; 1 (default) keeps all. */
  topP?: number;
  /** Keep tokens at least this fraction as likely as the likeliest; 0 (default) keeps all. */
  minP?: number;
  /** Divides the logits of tokens already in this output; 1 (default) is off. */
  repetitionPenalty?: number;
  /** Subtracted once from the logits of tokens already in this output, -2 to 2; 0 (default) is off. */
  presencePenalty?: number;
  /** Subtracted from a token's logit once per occurrence in this output, -2 to 2; 0 (default) is off. */
  frequencyPenalty?: number;
  /**
   * Added to logits, by token id, before every penalty: `{ [id]: bias }`. A finite number, or -Infinity: the token
   * never occurs. Ids come from `model.tokenizer`.
   */
  logitBias?: Readonly<Record<number, number>>;
  /**
   * Reports the log-probability of every token and of the `logprobs` (0 to 20) likeliest ones in its place. Default:
   * nothing is computed. They are natural logarithms of the model's unmodified distribution: log-softmax of the raw
   * logits, before bias, penalties, temperature and filters.
   */
  logprobs?: number;
  /** 32-bit seed of this output's random numbers; default 0. */
  seed?: number;
}

export interface OutputOptions extends SamplingOptions {
  /** Special tokens that end the output. Default: the tokenizer's EOS and end of turn. */
  closers?: readonly string[];
  /** Texts that end the output; they are not part of it. */
  stop?: string | readonly string[];
  /** Most tokens generated; default 256, and never more than the context holds. */
  maxTokens?: number;
  /** Whether next tokens may be guessed and checked several at a time; default: as the model was loaded. */
  drafting?: Drafting;
  /**
   * What the text must be, from its first character to its last; the result then has it as `object`. Not together with
   * `stop`: it ends where its schema lets it end. Default: anything.
   */
  output?: OutputSchema | undefined;
}

/** Why an output ended: with a closing token, with a stop string, or at `maxTokens` or the end of the context. */
export type FinishReason = "closed" | "stop" | "length";

/** The same, completed with defaults. */
export interface OutputSettings {
  closers: readonly string[] | null;
  stop: readonly string[];
  maxTokens: number;
  sampler: SamplerOptions;
  /** null: none. */
  logprobs: number | null;
  /** null: as the model was loaded. */
  drafting: Drafting | null;
  /** null: anything. */
  output: OutputForm | null;
}

export const outputOptionNames: readonly (keyof OutputOptions)[] = [
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
  "drafting",
  "output",
];

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

/** A value as messages show it. */
export function describeValue(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  return Array.isArray(value) ? `[${value.map(describeValue).join(", ")}]` : String(value);
}

/** OPTION_INVALID for `value`, which must be `expected`. */
export function invalidOf(
  { label, facts }: OptionOwner,
  option: string,
  value: unknown,
  expected: string,
): OptionInvalidError {
  const shown = describeValue(value);
  return new OptionInvalidError(`${label} has \`${option}\` ${shown}, which must be ${expected}.`, {
    facts: { ...facts, option, value: shown },
  });
}

function numeric(owner: OptionOwner, option: string, value: unknown, range: Range): number {
  if (value === undefined) return range.fallback;
  if (typeof value !== "number" || !range.valid(value)) throw invalidOf(owner, option, value, range.range);
  return value;
}

/** Texts, none of them empty; null when the option is absent. */
export function textList(owner: OptionOwner, option: string, value: unknown): string[] | null {
  if (value === undefined) return null;
  const list: unknown[] = Array.isArray(value) ? value : [value];
  if (!list.every((one): one is string => typeof one === "string" && one !== "")) {
    throw invalidOf(owner, option, value, "a text or a list of texts, none of them empty");
  }
  return list;
}

function draftingOf(owner: OptionOwner, value: unknown): Drafting | null {
  if (value === undefined) return null;
  const mode = draftingModes.find((one) => one === value);
  if (mode === undefined) throw invalidOf(owner, "drafting", value, '"auto" or "off"');
  return mode;
}

const mostBias = 1e30; // finite in float32, whatever penalties do to it

/** Ids and values of a bias; undefined for none. Whether the model has the ids is checked with the model at hand. */
function logitBiasOf(owner: OptionOwner, value: unknown): SamplerOptions["logitBias"] {
  if (value === undefined) return undefined;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalidOf(owner, "logitBias", value, "an object { [token id]: bias }");
  }
  const entries = Object.entries(value);
  for (const [id, bias] of entries) {
    if (!/^(0|[1-9]\d{0,9})$/.test(id) || Number(id) >= 2 ** 31) {
      throw invalidOf(owner, "logitBias", id, "an object whose keys are token ids");
    }
    const fits = typeof bias === "number" && Math.abs(bias) <= mostBias;
    if (!fits && bias !== Number.NEGATIVE_INFINITY) {
      throw invalidOf(owner, `logitBias[${id}]`, bias, "a number from -1e30 to 1e30, or -Infinity for a ban");
    }
  }
  if (entries.length === 0) return undefined;
  return {
    ids: Int32Array.from(entries, ([id]) => Number(id)),
    values: Float32Array.from(entries, ([, bias]) => bias as number),
  };
}

/** Throws OPTION_INVALID naming owner, option, value and range. Names of options are the caller's to check. */
export function checkOutputOptions(owner: OptionOwner, options: OutputOptions): OutputSettings {
  const sampler = {} as SamplerOptions;
  for (const name of Object.keys(samplerRanges) as SamplerNumber[]) {
    sampler[name] = numeric(owner, name, options[name], samplerRanges[name]);
  }
  const output = checkOutputSchema(owner, options.output);
  const stop = textList(owner, "stop", options.stop) ?? [];
  if (output !== null && stop.length > 0) {
    throw invalidOf(owner, "stop", options.stop, "left out beside `output`, which says where the text ends");
  }
  const logitBias = logitBiasOf(owner, options.logitBias);
  if (logitBias !== undefined) sampler.logitBias = logitBias;
  return {
    closers: textList(owner, "closers", options.closers),
    stop,
    maxTokens: numeric(owner, "maxTokens", options.maxTokens, tokensRange),
    sampler,
    logprobs:
      options.logprobs === undefined ? null : numeric(owner, "logprobs", options.logprobs, logprobsRange),
    drafting: draftingOf(owner, options.drafting),
    output,
  };
}

/** Throws OPTION_INVALID if the model has not all of the biased tokens, or if no token is left to generate. */
function checkLogitBias(owner: OptionOwner, { logitBias }: SamplerOptions, vocab: number): void {
  if (logitBias === undefined) return;
  const unknown = logitBias.ids.find((id) => id >= vocab);
  if (unknown !== undefined) {
    throw invalidOf(owner, "logitBias", unknown, `a token id of this model: 0 to ${vocab - 1}`);
  }
  const banned = logitBias.values.reduce((sum, one) => sum + (one === Number.NEGATIVE_INFINITY ? 1 : 0), 0);
  if (banned === vocab) {
    const all = `-Infinity for all ${vocab} tokens`;
    throw invalidOf(owner, "logitBias", all, "one that leaves a token to generate");
  }
}

/** Ids of closing tokens; `closers` null: the tokenizer's own. Throws OPTION_INVALID for a text that is none. */
export function closingTokens(
  tokenizer: Tokenizer,
  owner: OptionOwner,
  closers: readonly string[] | null,
): Int32Array {
  if (closers === null) return Int32Array.from(tokenizer.closers);
  const ids = closers.map((text) => {
    const id = tokenizer.specialId(text);
    if (id !== null) return id;
    throw new OptionInvalidError(
      `${owner.label} has the closer ${JSON.stringify(text)}, which is no special token of this model. ` +
        `Its own closers are ${[...tokenizer.closers].map((one) => tokenizer.tokenName(one)).join(", ")}; ` +
        "a plain text that ends the output belongs in `stop`.",
      { facts: { ...owner.facts, option: "closers", value: text } },
    );
  });
  return Int32Array.from(ids);
}

const encoder = new TextEncoder();

/** The settings for this model, but for the grammar of `output` (grammar.ts). Throws OPTION_INVALID for closers and biased tokens that it lacks. */
export function generateSpec(
  owner: OptionOwner,
  { tokenizer, info }: Model,
  { sampler, closers, stop, maxTokens, logprobs, drafting }: OutputSettings,
): GenerateSpec {
  checkLogitBias(owner, sampler, info.vocab);
  return {
    sampler,
    closers: closingTokens(tokenizer, owner, closers),
    stops: stop.map((text) => encoder.encode(text)),
    maxTokens,
    ...(logprobs === null ? {} : { logprobs }),
    ...(drafting === null ? {} : { drafting }),
  };
}
