// SPDX-License-Identifier: Apache-2.0
// The text of one output as it arrives: bytes of tokens in, whole characters out. A character split over tokens is
// held until it is complete, and the lead is stripped from the start once it is certain to be there or not.

import type { TokenBytes } from "./tokenizer.js";

export class OutputText {
  readonly #tokens: TokenBytes;
  readonly #lead: string;
  readonly #emit: (text: string) => void;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  /** Text that may still turn out to be the lead; null once that is decided. */
  #held: string | null = "";
  #text = "";

  constructor(tokens: TokenBytes, lead: string, emit: (text: string) => void) {
    this.#tokens = tokens;
    this.#lead = lead;
    this.#emit = emit;
  }

  /** Everything emitted so far. */
  get text(): string {
    return this.#text;
  }

  push(ids: Int32Array): void {
    const { bytes, offsets } = this.#tokens;
    let text = "";
    for (const id of ids) {
      const token = bytes.subarray(offsets[id] as number, offsets[id + 1] as number);
      text += this.#decoder.decode(token, { stream: true });
    }
    this.#take(text);
  }

  /** `tail`: bytes of the last token that come before a stop string. */
  end(tail: Uint8Array): void {
    this.#take(this.#decoder.decode(tail, { stream: true }));
    this.#take(this.#decoder.decode());
    if (this.#held !== null) this.#out(this.#held);
    this.#held = null;
  }

  #take(text: string): void {
    if (this.#held === null) {
      this.#out(text);
      return;
    }
    const start = this.#held + text;
    if (start.length < this.#lead.length && this.#lead.startsWith(start)) {
      this.#held = start;
      return;
    }
    this.#held = null;
    this.#out(start.startsWith(this.#lead) ? start.slice(this.#lead.length) : start);
  }

  #out(text: string): void {
    if (text === "") return;
    this.#text += text;
    this.#emit(text);
  }
}
