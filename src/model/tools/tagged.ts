// SPDX-License-Identifier: Apache-2.0
// Calls between tags, `<tool_call>{"name": ..., "arguments": ...}</tool_call>`: Qwen's and Hermes' form, and the one that
// models are told of whose template knows no tools.

import type { CallReader, Piece, ReadCall, ToolFormat } from "./format.js";
import { callsIn, parseJson } from "./format.js";

export const [openTag, closeTag] = ["<tool_call>", "</tool_call>"];

/** How many of the last characters of `text` may be the first ones of `tag`. */
function begun(text: string, tag: string): number {
  let length = Math.min(text.length, tag.length - 1);
  while (length > 0 && !tag.startsWith(text.slice(text.length - length))) length -= 1;
  return length;
}

/** A call whose JSON is damaged, for whoever wants to repair it; null if it does not even say whom it calls. */
function damagedCall(body: string): ReadCall | null {
  const name = /"name"\s*:\s*"([^"\\]+)"/.exec(body)?.[1];
  if (name === undefined) return null;
  const input = /"(?:arguments|parameters)"\s*:\s*([\s\S]*)$/.exec(body)?.[1] ?? "";
  return { name, input: input.trim().replace(/\}$/, "") };
}

class TaggedReader implements CallReader {
  #held = "";
  #inside = false;

  push(text: string): Piece[] {
    this.#held += text;
    const pieces: Piece[] = [];
    for (;;) {
      const tag = this.#inside ? closeTag : openTag;
      const at = this.#held.indexOf(tag);
      if (at < 0) break;
      const before = this.#held.slice(0, at);
      this.#held = this.#held.slice(at + tag.length);
      pieces.push(...(this.#inside ? this.#calls(before, closeTag) : textOf(before)));
      this.#inside = !this.#inside;
    }
    if (!this.#inside) {
      const certain = this.#held.length - begun(this.#held, openTag);
      pieces.push(...textOf(this.#held.slice(0, certain)));
      this.#held = this.#held.slice(certain);
    }
    return pieces;
  }

  end(): Piece[] {
    const held = this.#held;
    this.#held = "";
    return this.#inside ? this.#calls(held, "") : textOf(held);
  }

  /** `closed`: the tag that ended it; what the output's end cut off is a call only if its JSON is whole. */
  #calls(body: string, closed: string): Piece[] {
    const calls = callsIn(parseJson(body));
    if (calls !== null) return calls.map((call) => ({ call }));
    const damaged = closed === "" ? null : damagedCall(body);
    return damaged === null ? textOf(`${openTag}${body}${closed}`) : [{ call: damaged }];
  }
}

/** Blank lines around calls are the format's, not the text's. */
const textOf = (text: string): Piece[] => (text === "" ? [] : [{ text }]);

export const tagged: ToolFormat = {
  of: (template) => template.includes(openTag),
  opener: (name) =>
    name === null ? `${openTag}\n{"name": "` : `${openTag}\n{"name": ${JSON.stringify(name)}, "arguments": `,
  closer: `}\n${closeTag}`,
  reader: () => new TaggedReader(),
};
