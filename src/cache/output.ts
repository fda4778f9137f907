// SPDX-License-Identifier: Apache-2.0
// One output as it comes from the engine: its tokens, its text in whole characters, and its log-probabilities.

import type { Model } from "../model/model.js";
import { OutputText } from "../model/output-text.js";
import type { JobOutcome } from "../native/engine-client.js";
import type { NativeLogprobs } from "../native/types.js";
import type { OutputFigures, TokenLogprob } from "./logprobs.js";
import { OutputLogprobs } from "./logprobs.js";
import type { FinishReason } from "./output-options.js";

/** Whole characters only; the text may be empty where tokens came whose text is not complete or not shown. */
export interface OutputDelta {
  text: string;
  /** Of the tokens that came since the delta before, if `logprobs` were asked for. */
  logprobs?: readonly TokenLogprob[];
}

export interface OutputInit {
  /** Stripped from the start of the text. */
  lead: string;
  /** Whether the job asks for log-probabilities. */
  logprobs: boolean;
  emit: (delta: OutputDelta) => void;
}

export class Output {
  readonly tokens: number[] = [];
  readonly #text: OutputText;
  readonly #logprobs: OutputLogprobs | null;
  readonly #emit: (delta: OutputDelta) => void;

  constructor(model: Model, { lead, logprobs, emit }: OutputInit) {
    this.#logprobs = logprobs ? new OutputLogprobs(model.tokenizer) : null;
    this.#text = new OutputText(model.tokenBytes, lead, (text) => this.#push(text));
    this.#emit = emit;
  }

  get text(): string {
    return this.#text.text;
  }

  get figures(): OutputFigures {
    return this.#logprobs?.figures ?? {};
  }

  onTokens = (ids: Int32Array, figures?: NativeLogprobs): void => {
    this.tokens.push(...ids);
    if (figures !== undefined) this.#logprobs?.push(ids, figures);
    this.#text.push(ids);
  };

  /** Goes on behind tokens that an earlier run has told. */
  resume(tokens: readonly number[], logprobs: readonly TokenLogprob[] = []): void {
    for (const id of tokens) this.tokens.push(id);
    this.#logprobs?.restore(logprobs);
    this.#text.push(Int32Array.from(tokens));
  }

  end({ tail, closing }: JobOutcome): void {
    this.#text.end(tail);
    if (this.#logprobs?.hasNew) this.#push("");
    if (closing !== undefined) this.#logprobs?.close(closing);
  }

  #push(text: string): void {
    const figures = this.#logprobs === null ? {} : { logprobs: this.#logprobs.takeNew() };
    this.#emit({ text, ...figures });
  }
}

/** Why the job of an output ended, and how fast it was. */
export function paceOf({ reason, stats }: JobOutcome) {
  const { tokens, firstTokenMs, totalMs } = stats;
  const decoding = totalMs - firstTokenMs;
  return {
    reason: reason as FinishReason,
    timeToFirstTokenMs: firstTokenMs,
    /** After the first token; 0 with fewer than two. */
    tokensPerSecond: tokens > 1 && decoding > 0 ? ((tokens - 1) / decoding) * 1000 : 0,
  };
}
