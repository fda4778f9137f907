// SPDX-License-Identifier: Apache-2.0
// The forms of one thing, a tokenizer as plain data: GGUF's tables of either kind, or a whole tokenizer.json inside
// the file. Control tokens are left out of what encodes text: their text can then never become them by accident.

import { Tokenizer as BpeEncoder } from "@huggingface/tokenizers";
import { TokenizerUnsupportedError } from "../errors.js";
import { buildTokenBytes, tokenType } from "./byte-level.js";
import { PieceEncoder, pieceBytes } from "./sentencepiece.js";
import type { TokenBytes } from "./tokenizer.js";
import type { Metadata, Vocabulary } from "./vocabulary.js";
import { readScores, readString, readTokens, readTypes, readVocabulary } from "./vocabulary.js";

/** Text without control tokens to ids, with nothing added. */
export interface TextEncoding {
  encode(text: string): readonly number[];
}

export interface Definition {
  preName: string;
  /** If the file does not say. */
  addBos: boolean;
  /** A text at frame position 0 gets a space in front, if the file does not say. */
  addSpace: boolean;
  /** [V] */
  tokens: readonly string[];
  /** [V], values of `tokenType`. */
  types: ArrayLike<number>;
  /** Builds what encodes; not cheap. */
  encoder(): TextEncoding;
  tokenBytes(): TokenBytes;
}

/** The encoder of a tokenizer.json. */
function bpeEncoder(json: object, preName: string): TextEncoding {
  try {
    const encoder = new BpeEncoder(json, {});
    return { encode: (text) => encoder.encode(text, { add_special_tokens: false }).ids };
  } catch (cause) {
    throw new TokenizerUnsupportedError(
      `The tokenizer (${preName}) cannot be built: ${cause instanceof Error ? cause.message : cause}. ` +
        "Use a model with a byte-level BPE or SentencePiece tokenizer.",
      { facts: { pre: preName }, cause },
    );
  }
}

interface AddedToken {
  id: number;
  content: string;
  special: boolean;
  normalized: boolean;
}

function buildJson({ tokens, types, merges, pre }: Vocabulary): object {
  // No prototype: a token may be spelled "__proto__".
  const vocab: Record<string, number> = Object.create(null);
  const added: AddedToken[] = [];
  for (const [id, content] of tokens.entries()) {
    const type = types[id];
    if (type === tokenType.userDefined) added.push({ id, content, special: false, normalized: false });
    else if (type === tokenType.normal || type === tokenType.byte) vocab[content] = id;
  }
  const cuts = pre.patterns.map((pattern) => ({
    type: "Split",
    pattern: { Regex: pattern },
    behavior: "Isolated",
    invert: false,
  }));
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false };
  return {
    added_tokens: added,
    normalizer: pre.normalizer === null ? null : { type: pre.normalizer },
    pre_tokenizer: { type: "Sequence", pretokenizers: [...cuts, bytes] },
    post_processor: null,
    decoder: null,
    model: {
      type: "BPE",
      vocab,
      merges: merges.map((merge) => {
        const space = merge.indexOf(" ", 1);
        return [merge.slice(0, space), merge.slice(space + 1)];
      }),
      ignore_merges: pre.ignoreMerges,
      byte_fallback: false,
      fuse_unk: false,
    },
  };
}

function byteLevelDefinition(metadata: Metadata): Definition {
  const vocabulary = readVocabulary(metadata);
  const { preName, pre, tokens, types } = vocabulary;
  return {
    preName,
    addBos: pre.addBos,
    addSpace: false,
    tokens,
    types,
    encoder: () => bpeEncoder(buildJson(vocabulary), preName),
    tokenBytes: () => buildTokenBytes(tokens, types),
  };
}

/** SentencePiece: pieces with scores. Both defaults are those of the format. */
function pieceDefinition(metadata: Metadata): Definition {
  const tokens = readTokens(metadata);
  const types = readTypes(metadata, tokens.length);
  const pieces = { tokens, types, scores: readScores(metadata, tokens.length) };
  return {
    preName: "sentencepiece",
    addBos: true,
    addSpace: true,
    tokens,
    types,
    encoder: () => new PieceEncoder(pieces),
    tokenBytes: () => pieceBytes(pieces),
  };
}

/** By `tokenizer.ggml.model`. */
const kinds = new Map<string, (metadata: Metadata) => Definition>([
  ["gpt2", byteLevelDefinition],
  ["llama", pieceDefinition],
]);

export function definitionFromGguf(metadata: Metadata): Definition {
  const key = "tokenizer.ggml.model";
  const model = readString(metadata, key);
  const kind = model === null ? undefined : kinds.get(model);
  if (kind !== undefined) return kind(metadata);
  const found = model === null ? "missing" : JSON.stringify(model);
  throw new TokenizerUnsupportedError(
    `${key} is ${found}; supported: "gpt2" (byte-level BPE) and "llama" (SentencePiece with scores). Use a model of ` +
      "such a kind, as the families Llama, Qwen, Gemma and SmolLM2 are.",
    { facts: { key, found, supported: [...kinds.keys()] } },
  );
}

interface TokenizerJson {
  model: { type: string; vocab: Record<string, number> };
  pre_tokenizer: unknown;
  decoder: unknown;
  added_tokens: AddedToken[];
  normalizer: unknown;
}

const jsonKey = "tokenizer.huggingface.json";

function unsupported(what: string, cause?: unknown): TokenizerUnsupportedError {
  return new TokenizerUnsupportedError(
    `${jsonKey}: ${what}; supported: BPE with a ByteLevel decoder. Use a model of the Llama 3, Qwen 2 or SmolLM2 families.`,
    { facts: { key: jsonKey, found: what, supported: ["BPE"] }, cause },
  );
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function isAddedToken(value: unknown): value is AddedToken {
  return isObject(value) && Number.isInteger(value.id) && typeof value.content === "string";
}

function parseJson(text: string): TokenizerJson {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw unsupported("not JSON", cause);
  }
  if (!isObject(json) || !isObject(json.model)) throw unsupported("no model");
  const { model, added_tokens: added = [] } = json;
  if (model.type !== "BPE") throw unsupported(`model ${JSON.stringify(model.type)}`);
  if (!isObject(model.vocab) || !Array.isArray(model.merges)) throw unsupported("no vocabulary or merges");
  if (!JSON.stringify(json.decoder ?? null).includes('"ByteLevel"'))
    throw unsupported("no ByteLevel decoder");
  if (!Array.isArray(added) || !added.every(isAddedToken)) throw unsupported("malformed added_tokens");
  return { ...(json as unknown as TokenizerJson), added_tokens: added };
}

/** Tokens by id out of the JSON, for files that carry no `tokenizer.ggml.tokens`. */
function tokensOfJson(json: TokenizerJson): { tokens: string[]; types: Uint8Array } {
  const entries = Object.entries(json.model.vocab);
  let size = 0;
  for (const id of [...entries.map(([, id]) => id), ...json.added_tokens.map(({ id }) => id)]) {
    if (!Number.isInteger(id) || id < 0 || id > 0xffffff) throw unsupported(`token id ${id}`);
    size = Math.max(size, id + 1);
  }
  const tokens = new Array<string>(size).fill("");
  const types = new Uint8Array(size).fill(tokenType.unused);
  for (const [token, id] of entries) {
    tokens[id] = token;
    types[id] = tokenType.normal;
  }
  for (const { id, content, special } of json.added_tokens) {
    tokens[id] = content;
    types[id] = special ? tokenType.control : tokenType.userDefined;
  }
  return { tokens, types };
}

export function definitionFromJson(text: string, metadata: Metadata): Definition {
  const json = parseJson(text);
  let { tokens, types }: { tokens: readonly string[]; types: ArrayLike<number> } = tokensOfJson(json);
  if (metadata["tokenizer.ggml.tokens"] !== undefined) {
    tokens = readTokens(metadata);
    types = readTypes(metadata, tokens.length);
  }
  const control = new Set(json.added_tokens.filter((token) => token.special).map((token) => token.content));
  const vocab: Record<string, number> = Object.create(null);
  for (const [token, id] of Object.entries(json.model.vocab)) if (!control.has(token)) vocab[token] = id;
  const preName = "tokenizer.json";
  const plain = () => ({
    ...json,
    normalizer: json.normalizer ?? null,
    pre_tokenizer: json.pre_tokenizer ?? null,
    added_tokens: json.added_tokens.filter((token) => !token.special),
    post_processor: null,
    decoder: null,
    model: { ...json.model, vocab },
  });
  return {
    preName,
    addBos: false,
    addSpace: false,
    tokens,
    types,
    encoder: () => bpeEncoder(plain(), preName),
    tokenBytes: () => buildTokenBytes(tokens, types),
  };
}
