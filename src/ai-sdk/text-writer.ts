// SPDX-License-Identifier: Apache-2.0
// Text and calls of tools as parts of a stream: texts in blocks, each begun with its first character and ended before a
// call.

import type { ContentPart } from "./spec.js";
import type { Piece, ReadCall } from "./tools/index.js";
import { callId } from "./tools/index.js";

export class TextWriter {
  #blocks = 0;
  #open = false;
  #held = "";
  /** Calls that were written. */
  calls = 0;

  /** Blank text beside a call belongs to its format: it waits for the text that it would belong to. */
  *write(pieces: readonly Piece[]): Generator<ContentPart> {
    for (const piece of pieces) {
      if ("call" in piece) {
        this.#held = "";
        yield* this.#close();
        yield* this.#call(piece.call);
      } else yield* this.#text(piece.text);
    }
  }

  *end(): Generator<ContentPart> {
    if (this.calls === 0 && this.#held !== "") yield* this.#out(this.#held);
    yield* this.#close();
  }

  *#text(text: string): Generator<ContentPart> {
    const all = this.#held + text;
    const certain = all.trimEnd();
    const cut = this.#open || certain !== "" ? certain.length : 0;
    this.#held = all.slice(cut);
    if (cut > 0) yield* this.#out(all.slice(0, cut));
  }

  *#out(delta: string): Generator<ContentPart> {
    const id = String(this.#blocks);
    if (!this.#open) yield { type: "text-start", id };
    this.#open = true;
    yield { type: "text-delta", id, delta };
  }

  *#close(): Generator<ContentPart> {
    if (!this.#open) return;
    this.#open = false;
    yield { type: "text-end", id: String(this.#blocks) };
    this.#blocks += 1;
  }

  *#call({ name, input }: ReadCall): Generator<ContentPart> {
    this.calls += 1;
    const toolCallId = callId();
    yield { type: "tool-input-start", id: toolCallId, toolName: name };
    yield { type: "tool-input-delta", id: toolCallId, delta: input };
    yield { type: "tool-input-end", id: toolCallId };
    yield { type: "tool-call", toolCallId, toolName: name, input };
  }
}
