// SPDX-License-Identifier: Apache-2.0
// Generation behind a cache handle: the same options as a stage's, the text as it comes, and the outcome.

import { setMaxListeners } from "node:events";
import { checkKnown } from "../model/known-options.js";
import type { Model } from "../model/model.js";
import type { DecodeProgress, PrefillProgress } from "../model/progress.js";
import type { JobListeners, JobOutcome } from "../native/engine-client.js";
import type { Append } from "../native/types.js";
import { DeltaStream } from "./delta-stream.js";
import { objectOf, outputSpec } from "./grammar.js";
import type { OutputFigures } from "./logprobs.js";
import type { OutputDelta } from "./output.js";
import { Output, paceOf } from "./output.js";
import type { FinishReason, OutputOptions, OutputSettings } from "./output-options.js";
import { checkOutputOptions, outputOptionNames } from "./output-options.js";
import type { ObjectOf, OutputSchema } from "./output-schema.js";
import { promptCacheOf } from "./prompt-cache.js";

/** Penalties look at the tokens that this call has generated; the seed is this call's. */
export interface GenerationOptions<Schema extends OutputSchema | undefined = OutputSchema | undefined>
  extends OutputOptions {
  output?: Schema;
  signal?: AbortSignal;
  /** Hears of tokens that are written. */
  onProgress?: (progress: DecodeProgress) => void;
}

/** `logprobs` and `closing` if the call asks for `logprobs`. */
export interface GenerationResult extends OutputFigures {
  text: string;
  tokens: readonly number[];
  reason: FinishReason;
  /** What the text says, if the call asks for an `output`. */
  object?: unknown;
  usage: {
    rowsComputed: number;
    /** Guesses of next tokens that were computed as rows, and those of them that were right; see `drafting`. */
    draftedTokens: number;
    acceptedTokens: number;
    /** Milliseconds to the first sampled token. */
    timeToFirstTokenMs: number;
    /** After the first token; 0 with fewer than two. */
    tokensPerSecond: number;
  };
}

/**
 * A generation in progress: iterate it for text, whole characters only, or its `deltas()` for text with the
 * log-probabilities of its tokens, once; await `result` for the outcome. With an `output`, `result` rejects with
 * OUTPUT_INVALID for a text that ended too early or that the schema refuses; the handle has it all the same.
 */
export interface Generation<Schema extends OutputSchema | undefined = OutputSchema | undefined>
  extends AsyncIterable<string> {
  readonly result: Promise<GenerationResult & ObjectOf<Schema>>;
  [Symbol.asyncIterator](): AsyncIterator<string, undefined>;
  deltas(): AsyncIterable<OutputDelta>;
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

const owner = { label: "This call of generate", facts: {} };
const optionNames = [...outputOptionNames, "signal", "onProgress"];

function settingsOf(options: GenerationOptions): OutputSettings {
  checkKnown(owner, options, optionNames);
  return checkOutputOptions(owner, options);
}

/** Takes an output's tokens, and tells how many there are. */
export function telling(
  output: Output,
  total: number,
  { onProgress, stage }: { onProgress?: ((progress: DecodeProgress) => void) | undefined; stage?: string },
): NonNullable<JobListeners["onTokens"]> {
  return (ids, logprobs) => {
    output.onTokens(ids, logprobs);
    onProgress?.({
      phase: "decode",
      done: output.tokens.length,
      total,
      ...(stage !== undefined && { stage }),
    });
  };
}

/** Tells of the rows of a job. */
export function prefillListener({
  onProgress,
}: {
  onProgress?: ((progress: PrefillProgress) => void) | undefined;
}): Pick<JobListeners, "onProgress"> {
  if (onProgress === undefined) return {};
  return { onProgress: (done, total) => onProgress({ phase: "prefill", done, total }) };
}

/**
 * Starts at once. `execute` makes ready what is continued and runs the job. All failures arrive through `result` and
 * the iteration.
 */
export function startGeneration<Schema extends OutputSchema | undefined>(
  model: Model,
  options: GenerationOptions<Schema>,
  execute: (signal: AbortSignal, run: RunGeneration) => Promise<unknown>,
): Generation<Schema> {
  const controller = new AbortController();
  const { signal } = options;
  const onAbort = () => controller.abort(signal?.reason);
  if (signal?.aborted) onAbort();
  else if (signal !== undefined) {
    setMaxListeners(0, signal); // one signal may stop any number; each takes its listener away again
    signal.addEventListener("abort", onAbort, { once: true });
  }
  const stream = new DeltaStream(() => controller.abort());
  const generate = async (): Promise<GenerationResult> => {
    const settings = settingsOf(options);
    const compiled = outputSpec(owner, model, settings);
    compiled.catch(() => {}); // heard below
    const output = new Output(model, {
      lead: "",
      logprobs: settings.logprobs !== null,
      emit: (delta) => stream.push(delta),
    });
    let end: JobOutcome | undefined;
    await execute(controller.signal, async (appends, left, stop) => {
      const spec = await compiled;
      stop.throwIfAborted();
      const within = { ...spec, maxTokens: Math.min(spec.maxTokens, left) };
      promptCacheOf(model).makeRoomForRows(appends.length + within.maxTokens);
      const job = { appends, logits: "none" as const, generate: within };
      const onTokens = telling(output, within.maxTokens, options);
      end = await model.engine.run(job, { signal: stop, onTokens });
      output.end(end);
      return { tokens: output.tokens, pending: end.pending };
    });
    const outcome = end as NonNullable<typeof end>;
    const { reason, ...pace } = paceOf(outcome);
    const { rowsComputed, draftedTokens, acceptedTokens } = outcome.stats;
    const usage = { rowsComputed, draftedTokens, acceptedTokens, ...pace };
    const { text, tokens } = output;
    const { accepted } = outcome;
    const object = await objectOf(owner, settings.output, { text, reason, accepted });
    return { text, tokens, ...output.figures, reason, ...object, usage };
  };
  const result = generate().then(
    (outcome) => {
      stream.end();
      return outcome as GenerationResult & ObjectOf<Schema>;
    },
    (error: unknown) => {
      stream.end({ error });
      throw error;
    },
  );
  result.catch(() => {}); // a reader of the text hears the error there
  const done = () => signal?.removeEventListener("abort", onAbort);
  result.then(done, done);
  return {
    result,
    [Symbol.asyncIterator]: () => stream.textIterator(),
    deltas: () => ({ [Symbol.asyncIterator]: () => stream.iterator() }),
  };
}
