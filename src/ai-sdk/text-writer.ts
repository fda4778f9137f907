// SPDX-License-Identifier: Apache-2.0
// Text and calls of tools as parts of a stream: texts in blocks, each begun with its first character and ended before a
// call.

import type { Piece, ReadCall } from "../model/tools/index.js";
import { Blanks, callId } from "../model/tools/index.js";
import type { ContentPart } from "./spec.js";

export class TextWriter {
  readonly #blanks = new Blanks();
  #written = 0;
  #open = false;

  /** Calls that were written. */
  get calls(): number {
    return this.#blanks.calls;
  }

  *write(pieces: readonly Piece[]): Generator<ContentPart> {
    yield* this.#put(this.#blanks.push(pieces));
  }

  *end(): Generator<ContentPart> {
    yield* this.#put(this.#blanks.end());
    yield* this.#close();
  }

  *#put(pieces: Iterable<Piece>): Generator<ContentPart> {
    for (const piece of pieces) {
      if ("text" in piece) yield* this.#out(piece.text);
      else {
        yield* this.#close();
        yield* this.#call(piece.call);
      }
    }
  }

  *#out(delta: string): Generator<ContentPart> {
    const id = String(this.#written);
    if (!this.#open) yield { type: "text-start", id };
    this.#open = true;
    yield { type: "text-delta", id, delta };
  }

  *#close(): Generator<ContentPart> {
    if (!this.#open) return;
    this.#open = false;
    yield { type: "text-end", id: String(this.#written) };
    this.#written += 1;
  }

  *#call({ name, input }: ReadCall): Generator<ContentPart> {
    const toolCallId = callId();
    yield { type: "tool-input-start", id: toolCallId, toolName: name };
    yield { type: "tool-input-delta", id: toolCallId, delta: input };
    yield { type: "tool-input-end", id: toolCallId };
    yield { type: "tool-call", toolCallId, toolName: name, input };
  }
}
