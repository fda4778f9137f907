// SPDX-License-Identifier: Apache-2.0
// Generation behind a cache handle: options, the text as it comes, and the outcome. Ranges of the sampler's numbers are
// the engine's own, which names option, value and rule.

import { setMaxListeners } from "node:events";
import { OptionInvalidError } from "../errors.js";
import type { Model } from "../model/model.js";
import { OutputText } from "../model/output-text.js";
import type { Append, GenerateSpec, JobStats } from "../native/types.js";
import { TextStream } from "./text-stream.js";

export interface GenerationOptions {
  /** Most tokens generated; default 256, and never more than the context holds. */
  maxTokens?: number;
  /** Texts that end it; they are not part of it. */
  stop?: string | readonly string[];
  /** Special tokens that end it. Default: the tokenizer's EOS and end of turn. */
  closers?: readonly string[];
  /** 0 (default) is greedy. */
  temperature?: number;
  /** Keep the k likeliest tokens; 0 (default) keeps all. */
  topK?: number;
  /** Keep the smallest set of tokens with this probability; 1 (default) keeps all. */
  topP?: number;
  /** Keep tokens at least this fraction as likely as the likeliest; 0 (default) keeps all. */
  minP?: number;
  /** Divides the logits of tokens that this call has generated; 1 (default) is off. */
  repetitionPenalty?: number;
  seed?: number;
  signal?: AbortSignal;
}

export interface GenerationResult {
  text: string;
  tokens: readonly number[];
  reason: "closed" | "stop" | "length";
  usage: {
    rowsComputed: number;
    /** Milliseconds to the first sampled token. */
    timeToFirstTokenMs: number;
    /** After the first token; 0 with fewer than two. */
    tokensPerSecond: number;
  };
}

/** A generation in progress: iterate it for text, whole characters only; await `result` for the outcome. */
export interface Generation extends AsyncIterable<string> {
  readonly result: Promise<GenerationResult>;
  [Symbol.asyncIterator](): AsyncIterator<string, undefined>;
}

/** What a job of generation leaves behind. */
export interface GenerationOutcome {
  tokens: number[];
  /** Last token, if it is no row yet; else -1. */
  pending: number;
}

/** Generates behind `appends`, at most `left` tokens. */
export type RunGeneration = (
  appends: Append[],
  left: number,
  signal: AbortSignal,
) => Promise<GenerationOutcome>;

const encoder = new TextEncoder();
const samplerDefaults = { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 0 };
const optionNames = ["maxTokens", "stop", "closers", "signal", ...Object.keys(samplerDefaults)];

function invalid(option: string, value: unknown, expected: string): OptionInvalidError {
  return new OptionInvalidError(`\`${option}\` is ${String(value)}, which must be ${expected}.`, {
    facts: { option, value: String(value) },
  });
}

function texts(option: string, value: unknown): string[] {
  const list: unknown[] = Array.isArray(value) ? value : [value];
  if (list.every((one): one is string => typeof one === "string" && one !== "")) return list;
  throw invalid(option, value, "a text or a list of texts, none of them empty");
}

function specOf({ tokenizer }: Model, options: GenerationOptions): GenerateSpec {
  const unknown = Object.keys(options).find((option) => !optionNames.includes(option));
  if (unknown !== undefined) {
    throw new OptionInvalidError(
      `\`${unknown}\` is no option of generate. Known: ${optionNames.join(", ")}.`,
      {
        facts: { option: unknown, available: optionNames },
      },
    );
  }
  const { maxTokens = 256, stop = [], closers } = options;
  if (!Number.isInteger(maxTokens) || maxTokens < 1) {
    throw invalid("maxTokens", maxTokens, "a whole number of at least 1");
  }
  const sampler = { ...samplerDefaults };
  for (const name of Object.keys(samplerDefaults) as (keyof typeof samplerDefaults)[]) {
    const value = options[name];
    if (value === undefined) continue;
    if (typeof value !== "number") throw invalid(name, value, "a number");
    sampler[name] = value;
  }
  const ids = closers === undefined ? tokenizer.closers : texts("closers", closers).map(closerId);
  return {
    sampler,
    closers: Int32Array.from(ids),
    stops: texts("stop", stop).map((text) => encoder.encode(text)),
    maxTokens,
  };

  function closerId(text: string): number {
    const id = tokenizer.specialId(text);
    if (id !== null) return id;
    throw invalid(
      "closers",
      JSON.stringify(text),
      "a special token of this model; a plain text belongs in `stop`",
    );
  }
}

/**
 * Starts at once. `execute` makes ready what is continued and runs the job. All failures arrive through `result` and
 * the iteration.
 */
export function startGeneration(
  model: Model,
  options: GenerationOptions,
  execute: (signal: AbortSignal, run: RunGeneration) => Promise<unknown>,
): Generation {
  const controller = new AbortController();
  const { signal } = options;
  const onAbort = () => controller.abort(signal?.reason);
  if (signal?.aborted) onAbort();
  else if (signal !== undefined) {
    setMaxListeners(0, signal); // one signal may stop any number; each takes its listener away again
    signal.addEventListener("abort", onAbort, { once: true });
  }
  const stream = new TextStream(() => controller.abort());
  const generate = async (): Promise<GenerationResult> => {
    const spec = specOf(model, options);
    const text = new OutputText(model.tokenBytes, "", (delta) => stream.push(delta));
    const tokens: number[] = [];
    let end: { reason: string; stats: JobStats } | undefined;
    await execute(controller.signal, async (appends, left, stop) => {
      const job = {
        appends,
        logits: "none" as const,
        generate: { ...spec, maxTokens: Math.min(spec.maxTokens, left) },
      };
      const onTokens = (ids: Int32Array) => {
        tokens.push(...ids);
        text.push(ids);
      };
      const outcome = await model.engine.run(job, { signal: stop, onTokens });
      text.end(outcome.tail);
      end = outcome;
      return { tokens, pending: outcome.pending };
    });
    const { reason, stats } = end as NonNullable<typeof end>;
    const decoding = stats.totalMs - stats.firstTokenMs;
    const tokensPerSecond = tokens.length > 1 && decoding > 0 ? ((tokens.length - 1) / decoding) * 1000 : 0;
    const usage = {
      rowsComputed: stats.rowsComputed,
      timeToFirstTokenMs: stats.firstTokenMs,
      tokensPerSecond,
    };
    return { text: text.text, tokens, reason: reason as GenerationResult["reason"], usage };
  };
  const result = generate().then(
    (outcome) => {
      stream.end();
      return outcome;
    },
    (error: unknown) => {
      stream.end({ error });
      throw error;
    },
  );
  result.catch(() => {}); // a reader of the text hears the error there
  const done = () => signal?.removeEventListener("abort", onAbort);
  result.then(done, done);
  return { result, [Symbol.asyncIterator]: () => stream.iterator() };
}
