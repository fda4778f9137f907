// SPDX-License-Identifier: Apache-2.0
// Settings of a call as options of a generation. What cannot be honoured is a warning, never an error; what is out of range
// is refused by the generation itself, by name.

import { randomInt } from "node:crypto";
import type { GenerationOptions, PromptSource } from "../index.js";
import { didYouMean } from "../suggest.js";
import type { CallOptions, FunctionTool, Warning } from "./spec.js";

/** `providerOptions.baton`. */
export interface BatonProviderOptions {
  /** A soft prompt that the conversation stands behind: a PEFT folder, or `{ text }`. */
  prompt?: PromptSource;
  /** A session's name: calls that name it share its rows, and `model.session({ id })` is the session. */
  session?: string;
  /** Whose content it is; see `CacheOptions`. */
  salt?: string;
  /** The name of one of the provider's chains, to run instead of the model. */
  chain?: string;
  /** Values of the chain's inputs, by name. */
  inputs?: Readonly<Record<string, string>>;
  minP?: number;
  repetitionPenalty?: number;
  /** The log-probabilities of the tokens and of so many alternatives, in `providerMetadata.baton.logprobs`. */
  logprobs?: number;
}

const known: readonly (keyof BatonProviderOptions)[] = [
  "prompt",
  "session",
  "salt",
  "chain",
  "inputs",
  "minP",
  "repetitionPenalty",
  "logprobs",
];

/** Options that are not known are warnings. Values are checked where they are used. */
export function batonOptions({ providerOptions }: CallOptions, warnings: Warning[]): BatonProviderOptions {
  const given = providerOptions?.baton ?? {};
  for (const name of Object.keys(given)) {
    if (known.some((one) => one === name)) continue;
    warnings.push({
      type: "unsupported",
      feature: `providerOptions.baton.${name}`,
      details: `There is no such option. Known: ${known.join(", ")}.${didYouMean(name, known)}`,
    });
  }
  return given as BatonProviderOptions;
}

/** What becomes of a setting that only some models honour. */
export function warnUnsupported(warnings: Warning[], given: object, why: Readonly<Record<string, string>>) {
  for (const [feature, details] of Object.entries(why)) {
    if ((given as Record<string, unknown>)[feature] === undefined) continue;
    warnings.push({ type: "unsupported", feature, details });
  }
}

/** The tools that the model is told of; those of other providers are warnings. */
export function functionTools({ tools = [], toolChoice }: CallOptions, warnings: Warning[]): FunctionTool[] {
  if (toolChoice?.type === "none") return [];
  return tools.filter((tool): tool is FunctionTool => {
    if (tool.type === "function") return true;
    const details = "The model runs here; nobody provides this tool.";
    warnings.push({ type: "unsupported", feature: `tool ${tool.id}`, details });
    return false;
  });
}

/** A larger seed than the engine's is folded into its 32 bits; without one, calls that draw at all draw differently. */
function seedOf(seed: number | undefined, temperature: number | undefined): number | undefined {
  if (seed === undefined) return temperature ? randomInt(2 ** 32) : undefined;
  return Number.isInteger(seed) ? seed >>> 0 : seed;
}

/** `longest`: most tokens without a setting. */
export function generationOptions(
  options: CallOptions,
  { minP, repetitionPenalty, logprobs }: BatonProviderOptions,
  longest: number,
): GenerationOptions & { stop?: readonly string[] } {
  const { temperature, topP, topK, presencePenalty, frequencyPenalty, seed } = options;
  const stop: readonly string[] = (options.stopSequences ?? []).filter((text) => text !== "");
  const numbers = {
    temperature,
    topP,
    topK,
    presencePenalty,
    frequencyPenalty,
    minP,
    repetitionPenalty,
    logprobs,
    seed: seedOf(seed, temperature),
  };
  const given = Object.entries(numbers).filter(([, value]) => value !== undefined);
  return {
    maxTokens: options.maxOutputTokens ?? longest,
    ...(stop.length === 0 ? {} : { stop }),
    ...Object.fromEntries(given),
  };
}
