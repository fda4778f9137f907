// SPDX-License-Identifier: Apache-2.0
// The log-probabilities of one output as they arrive from the engine, with the text of each token. They are those of
// the model's unmodified distribution: log-softmax (natural logarithm) of the raw logits, before bias, penalties,
// temperature and filters.

import type { Tokenizer } from "../model/tokenizer.js";
import type { ClosingToken, NativeLogprobs } from "../native/types.js";

/**
 * A token and its log-probability; `text` has U+FFFD where the token is a part of a character, and is empty for a
 * control token.
 */
export interface TokenCandidate {
  id: number;
  text: string;
  /** Natural logarithm, from log-softmax of the raw logits: before bias, penalties, temperature and filters. */
  logprob: number;
}

/** A token of an output with the likeliest tokens in its place, likeliest first; it may be one of them. */
export interface TokenLogprob extends TokenCandidate {
  top: readonly TokenCandidate[];
}

/** What a result and the last event of an output say of its log-probabilities, if they were asked for. */
export interface OutputFigures {
  /** One per token of `tokens`. */
  logprobs?: readonly TokenLogprob[];
  /**
   * The closing token, which is no part of `tokens` and never becomes a row: present when `reason` is "closed". With
   * it, the sum of all `logprob` is that of the output as training labels it.
   */
  closing?: TokenLogprob;
}

export class OutputLogprobs {
  readonly #tokenizer: Tokenizer;
  readonly #all: TokenLogprob[] = [];
  #closing: TokenLogprob | null = null;
  /** Tokens of `#all` that were handed to a listener. */
  #streamed = 0;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  push(ids: Int32Array, figures: NativeLogprobs): void {
    this.#all.push(...this.#tokens(ids, figures));
  }

  /** Those that an earlier run of this output has told. */
  restore(all: readonly TokenLogprob[]): void {
    this.#all.push(...all);
  }

  close({ id, logprobs }: ClosingToken): void {
    if (logprobs === undefined) return;
    this.#closing = this.#tokens(Int32Array.of(id), logprobs)[0] ?? null;
  }

  get hasNew(): boolean {
    return this.#streamed < this.#all.length;
  }

  /** Tokens that came since the last call. */
  takeNew(): readonly TokenLogprob[] {
    const fresh = this.#all.slice(this.#streamed);
    this.#streamed = this.#all.length;
    return fresh;
  }

  /** Of everything told so far. */
  get figures(): OutputFigures {
    const closing = this.#closing;
    return closing === null ? { logprobs: this.#all } : { logprobs: this.#all, closing };
  }

  #tokens(ids: Int32Array, { chosen, topIds, topLogprobs }: NativeLogprobs): TokenLogprob[] {
    const n = topIds.length / ids.length;
    return Array.from(ids, (id, i) => {
      const top: TokenCandidate[] = [];
      for (let k = i * n; k < (i + 1) * n; k++) {
        top.push(this.#candidate(topIds[k] as number, topLogprobs[k] as number));
      }
      return { ...this.#candidate(id, chosen[i] as number), top };
    });
  }

  #candidate(id: number, logprob: number): TokenCandidate {
    return { id, text: this.#tokenizer.decode([id]), logprob };
  }
}
