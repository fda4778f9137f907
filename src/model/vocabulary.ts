// SPDX-License-Identifier: Apache-2.0
// Reads a tokenizer's tables out of GGUF metadata and checks every one of them: later code indexes without asking.

import { ModelFormatError, TokenizerUnsupportedError } from "../errors.js";
import type { MetadataValue } from "../native/types.js";
import { tokenType } from "./byte-level.js";
import type { PreTokenizer } from "./pre-tokenizers.js";
import { findPreTokenizer, preTokenizerNames } from "./pre-tokenizers.js";

export type Metadata = Readonly<Record<string, MetadataValue>>;

export interface Vocabulary {
  /** [V] */
  tokens: readonly string[];
  /** [V], values of `tokenType`. */
  types: ArrayLike<number>;
  /** "left right", best first. */
  merges: readonly string[];
  pre: PreTokenizer;
  preName: string;
}

const remedy = "convert the model to GGUF again with a current converter";

function malformed(key: string, found: string, expected: string): ModelFormatError {
  return new ModelFormatError(`${key} is ${found}, expected ${expected}; the file is damaged: ${remedy}.`, {
    facts: { key, found, expected },
  });
}

const typeName = (value: unknown) =>
  value === undefined ? "missing" : Array.isArray(value) ? "an array" : `a ${typeof value}`;

export function readString(metadata: Metadata, key: string): string | null {
  const value = metadata[key];
  if (value === undefined) return null;
  if (typeof value !== "string") throw malformed(key, typeName(value), "a string");
  return value;
}

export function readBoolean(metadata: Metadata, key: string): boolean | null {
  const value = metadata[key];
  if (value === undefined) return null;
  if (typeof value !== "boolean") throw malformed(key, typeName(value), "a boolean");
  return value;
}

/** A token id below `vocab`, null if the key is absent. */
export function readTokenId(metadata: Metadata, key: string, vocab: number): number | null {
  const value = metadata[key];
  if (value === undefined) return null;
  const id = typeof value === "number" || typeof value === "bigint" ? Number(value) : Number.NaN;
  if (!Number.isInteger(id)) throw malformed(key, typeName(value), "a token id");
  // Converters write 2^32 - 1 or -1 for "none".
  if (id === 0xffffffff || id === -1) return null;
  if (id < 0 || id >= vocab) throw malformed(key, String(id), `a token id below ${vocab}`);
  return id;
}

function readStrings(metadata: Metadata, key: string): readonly string[] {
  const value = metadata[key];
  if (!Array.isArray(value)) throw malformed(key, typeName(value), "an array of strings");
  for (let i = 0; i < value.length; i++) {
    if (typeof value[i] !== "string") throw malformed(`${key}[${i}]`, typeName(value[i]), "a string");
  }
  return value as string[];
}

export function readTypes(metadata: Metadata, vocab: number): ArrayLike<number> {
  const key = "tokenizer.ggml.token_type";
  const value = metadata[key];
  if (value === undefined) return new Uint8Array(vocab).fill(tokenType.normal);
  if (!Array.isArray(value)) throw malformed(key, typeName(value), "an array of numbers");
  if (value.length !== vocab)
    throw malformed(key, `${value.length} long`, `${vocab} long, one for each token`);
  const types = new Uint8Array(vocab);
  for (let i = 0; i < vocab; i++) {
    const type = value[i];
    if (typeof type !== "number" || type < 1 || type > 6) {
      throw malformed(`${key}[${i}]`, typeof type === "number" ? String(type) : typeName(type), "1 to 6");
    }
    types[i] = type;
  }
  return types;
}

export function readTokens(metadata: Metadata): readonly string[] {
  const key = "tokenizer.ggml.tokens";
  const tokens = readStrings(metadata, key);
  if (tokens.length === 0) throw malformed(key, "empty", "at least one token");
  return tokens;
}

/** Scores of pieces, [vocab]; finite. */
export function readScores(metadata: Metadata, vocab: number): ArrayLike<number> {
  const key = "tokenizer.ggml.scores";
  const value = metadata[key];
  if (!Array.isArray(value)) throw malformed(key, typeName(value), "an array of numbers");
  if (value.length !== vocab)
    throw malformed(key, `${value.length} long`, `${vocab} long, one for each token`);
  const scores = new Float32Array(vocab);
  for (let i = 0; i < vocab; i++) {
    const score = value[i];
    if (typeof score !== "number" || !Number.isFinite(score)) {
      throw malformed(
        `${key}[${i}]`,
        typeof score === "number" ? String(score) : typeName(score),
        "a number",
      );
    }
    scores[i] = score;
  }
  return scores;
}

function readPreTokenizer(metadata: Metadata): { pre: PreTokenizer; preName: string } {
  const key = "tokenizer.ggml.pre";
  const preName = readString(metadata, key);
  const pre = preName === null ? null : findPreTokenizer(preName);
  if (pre !== null && preName !== null) return { pre, preName };
  const found = preName === null ? "missing" : JSON.stringify(preName);
  throw new TokenizerUnsupportedError(
    `${key} is ${found}; known: ${preTokenizerNames.join(", ")}. How this model cuts text would be a guess: ${remedy} ` +
      "that writes the key, or add a row to src/model/pre-tokenizers.ts.",
    { facts: { key, found, supported: preTokenizerNames } },
  );
}

export function readVocabulary(metadata: Metadata): Vocabulary {
  const { pre, preName } = readPreTokenizer(metadata);
  const tokens = readTokens(metadata);
  const types = readTypes(metadata, tokens.length);
  const key = "tokenizer.ggml.merges";
  const merges = readStrings(metadata, key);
  for (const [i, merge] of merges.entries()) {
    const space = merge.indexOf(" ", 1);
    if (space < 0 || space === merge.length - 1) {
      throw malformed(`${key}[${i}]`, JSON.stringify(merge), "two pieces with a space between");
    }
  }
  return { tokens, types, merges, pre, preName };
}

/** In letters: V8 refuses a pattern with a text of 50,000, and only when it is first used. */
const mostLetters = 10_000;

/** Finds the longest of the texts that begins at the leftmost place. Throws MODEL_FORMAT for one that is too long. */
export function patternOf(texts: readonly string[], flags: string): RegExp {
  const longestFirst = [...texts].sort((a, b) => b.length - a.length);
  const { length = 0 } = longestFirst[0] ?? "";
  if (length > mostLetters) {
    throw malformed("tokenizer.ggml.tokens", `with a token of ${length} letters`, `${mostLetters} at most`);
  }
  const escaped = longestFirst.map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  return new RegExp(escaped.join("|"), flags);
}
