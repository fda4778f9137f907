// SPDX-License-Identifier: Apache-2.0
// How a model writes calls of tools into its text. A format is a reader that is fed the text as it comes: what is certain
// to be text it gives back at once, what may become a call it holds until that is decided. Nothing of an output is lost:
// what looked like a call and is none comes back as text.

import { randomBytes } from "node:crypto";

export interface ReadCall {
  name: string;
  /** JSON, if the model wrote JSON. */
  input: string;
}

export type Piece = { text: string } | { call: ReadCall };

export interface CallReader {
  push(text: string): Piece[];
  /** What was held, decided by its being all. */
  end(): Piece[];
}

export interface ToolFormat {
  /** Whether a chat template teaches this format; asked in the order of the table. */
  of(template: string): boolean;
  /** Begins an output that can only go on as a call; of `name`, if there is one, with its arguments. */
  opener(name: string | null): string;
  /** Stands behind the arguments of a call, and ends it. */
  closer: string;
  /** `tools`: names that there are. */
  reader(tools: readonly string[]): CallReader;
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The calls in a value that a model wrote: `{ name, arguments }` under its several names, or a list; null: none. */
export function callsIn(value: unknown): ReadCall[] | null {
  if (Array.isArray(value)) {
    const calls = value.map(callsIn);
    return calls.length > 0 && calls.every((one) => one !== null) ? calls.flat() : null;
  }
  if (!isObject(value)) return null;
  const { name } = value;
  if (typeof name !== "string" || name === "") return null;
  const input = value.arguments ?? value.parameters ?? {};
  return [{ name, input: typeof input === "string" ? input : JSON.stringify(input) }];
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/** Nine letters and digits: what every template takes for an id, the strictest of them no other. */
export function callId(bytes: Uint8Array = randomBytes(9)): string {
  return Array.from(bytes.subarray(0, 9), (byte) => letters[byte % letters.length]).join("");
}
