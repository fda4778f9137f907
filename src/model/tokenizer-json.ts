// SPDX-License-Identifier: Apache-2.0
// A whole tokenizer.json inside the file, of two styles: byte-level BPE, and SentencePiece's pieces written as BPE with
// merges and byte fallback. What is neither, or does more to a text, is refused.

import { TokenizerUnsupportedError } from "../errors.js";
import { buildTokenBytes, tokenType } from "./byte-level.js";
import { PieceEncoder, pieceBytes } from "./sentencepiece.js";
import type { AddedToken, Definition } from "./tokenizer-definition.js";
import { bpeEncoder } from "./tokenizer-definition.js";
import type { Metadata } from "./vocabulary.js";
import { readTokens, readTypes } from "./vocabulary.js";

interface TokenizerJson {
  model: {
    type: string;
    vocab: Record<string, number>;
    merges: unknown[];
    byte_fallback?: unknown;
    unk_token?: unknown;
  };
  pre_tokenizer: unknown;
  decoder: unknown;
  added_tokens: AddedToken[];
  normalizer: unknown;
  post_processor: unknown;
}

const jsonKey = "tokenizer.huggingface.json";

function unsupported(what: string, cause?: unknown): TokenizerUnsupportedError {
  return new TokenizerUnsupportedError(
    `${jsonKey}: ${what}; supported: BPE, byte-level or with byte fallback. Use a model of the families Llama, Qwen, Gemma or SmolLM2.`,
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
  if (model.byte_fallback !== true && !JSON.stringify(json.decoder ?? null).includes('"ByteLevel"'))
    throw unsupported("no ByteLevel decoder and no byte fallback");
  if (!Array.isArray(added) || !added.every(isAddedToken)) throw unsupported("malformed added_tokens");
  return { ...(json as unknown as TokenizerJson), added_tokens: added };
}

/** Tokens by id out of the JSON, for files that carry no `tokenizer.ggml.tokens`. */
function tokensOfJson(json: TokenizerJson): { tokens: string[]; types: Uint8Array } {
  const entries = Object.entries(json.model.vocab);
  let size = 0;
  for (const id of [...entries.map(([, id]) => id), ...json.added_tokens.map(({ id }) => id)]) {
    if (!Number.isInteger(id) || id < 0 || id > 0xffffff) throw unsupported(`token id ${JSON.stringify(id)}`);
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

const space = "\u2581";

/** The steps of a normalizer, pre-tokenizer or post-processor, one after another. */
function stepsOf(value: unknown): Record<string, unknown>[] {
  if (value === null || value === undefined) return [];
  if (!isObject(value)) throw unsupported("a malformed normalizer, pre_tokenizer or post_processor");
  if (value.type !== "Sequence") return [value];
  const inner = value.normalizers ?? value.pretokenizers ?? value.processors;
  if (!Array.isArray(inner)) throw unsupported("a malformed Sequence");
  return inner.flatMap(stepsOf);
}

const isSpacePattern = (value: unknown) => isObject(value) && value.String === " ";

/** Whether a space is put in front; throws for anything that does more to a text than spelling spaces as pieces do. */
function spaceOfPieces(json: TokenizerJson): Definition["addSpace"] {
  let addSpace: Definition["addSpace"] = "never";
  for (const step of [...stepsOf(json.normalizer), ...stepsOf(json.pre_tokenizer)]) {
    const { type } = step;
    if (type === "Prepend" && step.prepend === space) addSpace = "always";
    else if (type === "Replace" && isSpacePattern(step.pattern) && step.content === space) continue;
    // Finds no space, since all are spelled as pieces by then.
    else if (type === "Split" && isSpacePattern(step.pattern)) continue;
    else if (type === "Metaspace" && step.replacement === space && step.split === false) {
      if (step.prepend_scheme !== "never") addSpace = "missing";
    } else throw unsupported(`the step ${JSON.stringify(step).slice(0, 100)} with byte fallback`);
  }
  return addSpace;
}

/** What the post-processor puts in front of a text: nothing, or one token. What it puts behind is for training. */
function bosOf(json: TokenizerJson): { addBos: boolean; bosId?: number } {
  for (const step of stepsOf(json.post_processor)) {
    if (step.type !== "TemplateProcessing") continue;
    const { single, special_tokens: specials } = step;
    if (!Array.isArray(single) || !isObject(specials)) throw unsupported("a malformed TemplateProcessing");
    const end = single.findIndex((piece) => !isObject(piece) || !isObject(piece.SpecialToken));
    const [first, ...more] = single.slice(0, Math.max(end, 0));
    if (first === undefined) continue;
    const name = first.SpecialToken.id;
    const special = specials[name];
    const ids = isObject(special) && Array.isArray(special.ids) ? special.ids : [];
    if (more.length > 0 || ids.length !== 1 || !Number.isInteger(ids[0])) {
      throw unsupported("a post_processor that puts more than one token in front of a text");
    }
    return { addBos: true, bosId: ids[0] as number };
  }
  return { addBos: false };
}

/** Rank of joining two pieces, the best highest. */
function scoreOfMerges(merges: readonly unknown[]): (left: string, right: string) => number | undefined {
  const scores = new Map<string, number>();
  for (const [rank, merge] of merges.entries()) {
    const key = Array.isArray(merge) ? merge.join(" ") : merge;
    if (typeof key !== "string" || !/^[^ ]+ [^ ]+$/.test(key)) {
      throw unsupported(`merges[${rank}] is ${JSON.stringify(merge)}`);
    }
    scores.set(key, -rank);
  }
  return (left, right) => scores.get(`${left} ${right}`);
}

function pieceDefinition(
  json: TokenizerJson,
  tokens: readonly string[],
  known: ArrayLike<number>,
): Definition {
  const types = Uint8Array.from(known);
  for (const [id, token] of tokens.entries()) {
    if (types[id] === tokenType.normal && /^<0x[0-9A-Fa-f]{2}>$/.test(token)) types[id] = tokenType.byte;
    if (token === json.model.unk_token) types[id] = tokenType.unknown;
  }
  const addSpace = spaceOfPieces(json);
  const pieces = { tokens, types, score: scoreOfMerges(json.model.merges) };
  return {
    preName: "tokenizer.json",
    ...bosOf(json),
    addSpace,
    tokens,
    types,
    encoder: () => new PieceEncoder(pieces),
    tokenBytes: () => pieceBytes(pieces),
  };
}

export function definitionFromJson(text: string, metadata: Metadata): Definition {
  const json = parseJson(text);
  let { tokens, types }: { tokens: readonly string[]; types: ArrayLike<number> } = tokensOfJson(json);
  if (metadata["tokenizer.ggml.tokens"] !== undefined) {
    tokens = readTokens(metadata);
    types = readTypes(metadata, tokens.length);
  }
  if (json.model.byte_fallback === true) return pieceDefinition(json, tokens, types);
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
    ...bosOf(json),
    addSpace: "never",
    tokens,
    types,
    encoder: () => bpeEncoder(plain(), preName),
    tokenBytes: () => buildTokenBytes(tokens, types),
  };
}
