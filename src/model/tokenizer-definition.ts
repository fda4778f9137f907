// SPDX-License-Identifier: Apache-2.0
// A tokenizer as plain data, out of GGUF's tables of either kind. Control tokens are left out of what encodes text:
// their text can then never become them by accident.

import type * as TokenizersLibrary from "@huggingface/tokenizers";
import { TokenizerUnsupportedError } from "../errors.js";
import { requireHere } from "../native/here.js";
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
  /** The token that the definition itself puts in front of a text. */
  bosId?: number;
  /** A text at frame position 0 gets a space in front, or only if it has none there; if the file does not say. */
  addSpace: "never" | "always" | "missing";
  /** [V] */
  tokens: readonly string[];
  /** [V], values of `tokenType`. */
  types: ArrayLike<number>;
  /** Builds what encodes; not cheap. */
  encoder(): TextEncoding;
  tokenBytes(): TokenBytes;
}

/** Loaded with the first tokenizer, by `require` since tokenizers are made without waiting. */
const tokenizersLibrary = () => requireHere("@huggingface/tokenizers") as typeof TokenizersLibrary;

/** The encoder of a tokenizer.json. */
export function bpeEncoder(json: object, preName: string): TextEncoding {
  const { Tokenizer } = tokenizersLibrary();
  try {
    const encoder = new Tokenizer(json, {});
    return { encode: (text) => encoder.encode(text, { add_special_tokens: false }).ids };
  } catch (cause) {
    throw new TokenizerUnsupportedError(
      `The tokenizer (${preName}) cannot be built: ${cause instanceof Error ? cause.message : cause}. ` +
        "Use a model with a byte-level BPE or SentencePiece tokenizer.",
      { facts: { pre: preName }, cause },
    );
  }
}

export interface AddedToken {
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
    addSpace: "never",
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
  const scores = readScores(metadata, tokens.length);
  const pieces = { tokens, types, score: (_left: string, _right: string, id: number) => scores[id] };
  return {
    preName: "sentencepiece",
    addBos: true,
    addSpace: "always",
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
