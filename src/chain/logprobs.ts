// SPDX-License-Identifier: Apache-2.0
// The log-probabilities of one output as they arrive from the engine, with the text of each token. They are those of
// the model's unmodified distribution: log-softmax (natural logarithm) of the raw logits, before bias, penalties,
// temperature and filters.

import type { Tokenizer } from "../model/tokenizer.js";
import type { NativeLogprobs } from "../native/types.js";
import type { TokenCandidate, TokenLogprob } from "./types.js";

export class OutputLogprobs {
  readonly #tokenizer: Tokenizer;
  readonly #all: TokenLogprob[] = [];
  /** Tokens of `#all` that were handed to a listener. */
  #streamed = 0;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** One entry per token told so far. */
  get all(): readonly TokenLogprob[] {
    return this.#all;
  }

  push(ids: Int32Array, { chosen, topIds, topLogprobs }: NativeLogprobs): void {
    const n = topIds.length / ids.length;
    ids.forEach((id, i) => {
      const top: TokenCandidate[] = [];
      for (let k = i * n; k < (i + 1) * n; k++) {
        top.push(this.#candidate(topIds[k] as number, topLogprobs[k] as number));
      }
      this.#all.push({ ...this.#candidate(id, chosen[i] as number), top });
    });
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

  #candidate(id: number, logprob: number): TokenCandidate {
    return { id, text: this.#tokenizer.decode([id]), logprob };
  }
}
