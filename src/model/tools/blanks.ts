// SPDX-License-Identifier: Apache-2.0
// Blank text beside a call belongs to the call's format and not to the text: it waits for the text that it would belong to.

import type { Piece } from "./format.js";

export class Blanks {
  #held = "";
  /** Calls that came. */
  calls = 0;

  *push(pieces: readonly Piece[]): Generator<Piece> {
    for (const piece of pieces) {
      if ("call" in piece) {
        this.#held = "";
        this.calls += 1;
        yield piece;
        continue;
      }
      const all = this.#held + piece.text;
      const text = all.trimEnd();
      this.#held = all.slice(text.length);
      if (text !== "") yield { text };
    }
  }

  *end(): Generator<Piece> {
    if (this.calls === 0 && this.#held !== "") yield { text: this.#held };
    this.#held = "";
  }
}
