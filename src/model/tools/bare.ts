// SPDX-License-Identifier: Apache-2.0
// Calls that are the whole output, as JSON: Llama 3's `{"name": ..., "parameters": ...}` and Mistral's list behind
// `[TOOL_CALLS]`. Control tokens have no text, so what arrives is JSON from its first character on; it is a call if it
// names a tool that there is.

import type { CallReader, Piece, ToolFormat } from "./format.js";
import { callsIn, parseJson } from "./format.js";

class BareReader implements CallReader {
  readonly #tools: readonly string[];
  #held = "";
  /** Null until the first character that is not blank. */
  #json: boolean | null = null;

  constructor(tools: readonly string[]) {
    this.#tools = tools;
  }

  push(text: string): Piece[] {
    this.#held += text;
    const first = this.#held.trimStart()[0];
    if (this.#json === null && first !== undefined) this.#json = first === "{" || first === "[";
    return this.#json === false ? this.#give() : [];
  }

  end(): Piece[] {
    const calls = callsIn(parseJson(this.#held));
    if (calls?.every(({ name }) => this.#tools.includes(name))) return calls.map((call) => ({ call }));
    return this.#give();
  }

  #give(): Piece[] {
    const text = this.#held;
    this.#held = "";
    return text === "" ? [] : [{ text }];
  }
}

const reader = (tools: readonly string[]) => new BareReader(tools);
const quoted = (name: string | null) => (name === null ? '"' : JSON.stringify(name));

export const mistral: ToolFormat = {
  of: (template) => template.includes("[TOOL_CALLS]"),
  opener: (name) => `[TOOL_CALLS] [{"name": ${quoted(name)}${name === null ? "" : ', "arguments": '}`,
  closer: "}]",
  reader,
};

export const llama: ToolFormat = {
  of: (template) => template.includes('"parameters"'),
  opener: (name) => `{"name": ${quoted(name)}${name === null ? "" : ', "parameters": '}`,
  closer: "}",
  reader,
};
