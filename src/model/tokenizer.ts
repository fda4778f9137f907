// SPDX-License-Identifier: Apache-2.0
// Text and token ids. One law: nothing is added. No BOS, no space, no newline; what a caller wants in front of a
// segment it puts there itself (`addBos`, `bosId` say what the model was trained with).

import { createHash } from "node:crypto";
import { ModelFormatError } from "../errors.js";
import type { MetadataValue } from "../native/types.js";
import { ByteStream, decodeBytes, gatherBytes, tokenType } from "./byte-level.js";
import type { Definition, TextEncoding } from "./tokenizer-definition.js";
import { definitionFromGguf } from "./tokenizer-definition.js";
import { definitionFromJson } from "./tokenizer-json.js";
import { patternOf, readBoolean, readString, readTokenId } from "./vocabulary.js";

export interface EncodeOptions {
  /**
   * true: the text of control tokens ("<|im_start|>") becomes those tokens: for templates and openers.
   * false: it stays plain text: for everything that a user typed.
   */
  specials: boolean;
  /** With `specials`: a character to take out of the text between control tokens (see `guard`). */
  mark?: string;
  /** The text stands at frame position 0: a tokenizer that asks for it (`addSpace`) puts a space in front of it. */
  atZero?: boolean;
}

/** Ids in, text out, for one output: a character split over several tokens appears when it is complete. */
export interface TokenStream {
  /** Text that is complete after these ids; never ends inside a character. Control tokens give no text. */
  push(ids: ArrayLike<number>): string;
  /** The end: bytes of a character that never became complete give U+FFFD. The stream starts anew after it. */
  flush(): string;
}

/** Bytes of every token's text, concatenated; token t is bytes[offsets[t] .. offsets[t + 1]). */
export interface TokenBytes {
  bytes: Uint8Array;
  /** [vocab + 1] */
  offsets: Uint32Array;
}

export interface Tokenizer {
  /** Number of tokens, V. */
  readonly size: number;
  /** `tokenizer.ggml.pre`, "sentencepiece", or "tokenizer.json" when the file carries a whole tokenizer. */
  readonly preTokenizer: string;
  /** The model's BOS, null if it names none. */
  readonly bosId: number | null;
  /** A text segment at frame position 0 starts with `bosId`. */
  readonly addBos: boolean;
  /** A text at frame position 0 starts with a space that is not in it (SentencePiece's dummy prefix). */
  readonly addSpace: boolean;
  /** Closing tokens: EOS first (the label in training), then end-of-turn tokens. */
  readonly closers: readonly number[];
  /** The token of "\n", null if no single token says it. */
  readonly newlineId: number | null;

  /** Ids of the text with nothing added, but for what `atZero` asks for. */
  encode(text: string, options: EncodeOptions): Int32Array;
  /**
   * Puts `mark`, one character that the text does not contain, inside every spelling of a control token, so that
   * `encode` with `specials` and the same `mark` reads it as plain text.
   */
  guard(text: string, mark: string): string;
  /** Text of ids; control tokens give no text. Bytes that form no character give U+FFFD. */
  decode(ids: ArrayLike<number>): string;
  /** Control tokens have length 0: they stream as no text and can never complete a stop string. */
  tokenBytes(): TokenBytes;
  stream(): TokenStream;
  /** Name of a token as the file spells it: control tokens included. For messages and `explain`. */
  tokenName(id: number): string;
  /** Id of a control or user-defined token by its exact text, null if there is none. */
  specialId(text: string): number | null;
}

/** Ids of a text at frame position 0: behind the BOS that the model was trained with, if they do not begin with it. */
export function withBos({ addBos, bosId }: Tokenizer, ids: ArrayLike<number>): Int32Array {
  if (!addBos || bosId === null || ids[0] === bosId) return Int32Array.from(ids);
  return Int32Array.from([bosId, ...Array.from(ids)]);
}

/** End-of-text and end-of-turn tokens by the names that model families give them. */
const closerNames: readonly string[] = [
  "<|endoftext|>",
  "<|end_of_text|>",
  "<|im_end|>",
  "<|eot_id|>",
  "<|eom_id|>",
  "<|eot|>",
  "<|end|>",
  "<|return|>",
  "<end_of_turn>",
  "<|END_OF_TURN_TOKEN|>",
  "<｜end▁of▁sentence｜>",
  "</s>",
];

const isSilent = (type: number | undefined) => type === tokenType.control || type === tokenType.unknown;

/** Cuts text at the longest special token that starts at the leftmost place. */
function specialPattern(specials: Iterable<string>): RegExp | null {
  const texts = [...specials].filter((text) => text !== "");
  return texts.length === 0 ? null : patternOf(texts, "g");
}

class GgufTokenizer implements Tokenizer {
  readonly size: number;
  readonly preTokenizer: string;
  readonly bosId: number | null;
  readonly addBos: boolean;
  readonly addSpace: boolean;
  readonly closers: readonly number[];

  private readonly definition: Definition;
  /** Control and unknown tokens, by text. */
  private readonly silent = new Map<string, number>();
  private readonly userDefined = new Map<string, number>();
  private encoder: TextEncoding | null = null;
  private specialSplit: RegExp | null | undefined;
  private table: TokenBytes | null = null;
  private newline: number | null | undefined;

  constructor(definition: Definition, metadata: Readonly<Record<string, MetadataValue>>) {
    this.definition = definition;
    this.size = definition.tokens.length;
    this.preTokenizer = definition.preName;
    for (let id = 0; id < this.size; id++) {
      const type = definition.types[id];
      if (isSilent(type)) this.silent.set(definition.tokens[id] as string, id);
      else if (type === tokenType.userDefined) this.userDefined.set(definition.tokens[id] as string, id);
    }
    this.bosId =
      this.namedToken(metadata, "bos_token") ??
      definition.bosId ??
      readTokenId(metadata, "tokenizer.ggml.bos_token_id", this.size);
    const addBos = readBoolean(metadata, "tokenizer.ggml.add_bos_token") ?? definition.addBos;
    this.addBos = addBos && this.bosId !== null;
    this.addSpace =
      readBoolean(metadata, "tokenizer.ggml.add_space_prefix") ?? definition.addSpace !== "never";
    const named = closerNames.map((name) => this.silent.get(name) ?? null);
    const keys = ["eos_token_id", "eot_token_id", "eom_token_id"];
    const stated = keys.map((key) => readTokenId(metadata, `tokenizer.ggml.${key}`, this.size));
    const eos = this.namedToken(metadata, "eos_token");
    this.closers = [...new Set([eos, ...stated, ...named])].filter((id) => id !== null);
  }

  get newlineId(): number | null {
    if (this.newline === undefined) {
      const ids = this.encodePlain("\n");
      this.newline = ids.length === 1 ? (ids[0] as number) : null;
    }
    return this.newline;
  }

  encode(text: string, options: EncodeOptions): Int32Array {
    const { specials, mark, atZero = false } = options;
    const space = atZero && this.addSpace;
    return Int32Array.from(
      specials ? this.encodeWithSpecials(text, mark, space) : this.encodePlain(text, space),
    );
  }

  guard(text: string, mark: string): string {
    const { specials } = this;
    if (specials === null) return text;
    const pieces: string[] = [];
    let from = 0;
    specials.lastIndex = 0;
    for (let match = specials.exec(text); match !== null; match = specials.exec(text)) {
      const cut = match.index + 1;
      pieces.push(text.slice(from, cut), mark);
      from = cut;
      // Go on inside the token: what is left of it may begin another one.
      specials.lastIndex = cut;
    }
    return pieces.join("") + text.slice(from);
  }

  decode(ids: ArrayLike<number>): string {
    return decodeBytes(gatherBytes(this.tokenBytes(), ids));
  }

  tokenBytes(): TokenBytes {
    this.table ??= this.definition.tokenBytes();
    return this.table;
  }

  stream(): TokenStream {
    return new ByteStream(this.tokenBytes());
  }

  tokenName(id: number): string {
    return this.definition.tokens[id] ?? `(no token ${id})`;
  }

  specialId(text: string): number | null {
    return this.silent.get(text) ?? this.userDefined.get(text) ?? null;
  }

  /** The id of a token that a file beside tokenizer.json names by its text; null if none does. */
  private namedToken(metadata: Readonly<Record<string, MetadataValue>>, what: string): number | null {
    const text = readString(metadata, `tokenizer.huggingface.${what}`);
    if (text === null) return null;
    const id = this.specialId(text) ?? this.definition.tokens.indexOf(text);
    if (id >= 0) return id;
    throw new ModelFormatError(
      `The ${what} ${JSON.stringify(text)} of tokenizer_config.json or special_tokens_map.json is not among the ` +
        `${this.size} tokens of tokenizer.json: the files are of different models. Fetch the folder again, complete.`,
      { facts: { key: what, found: text, tokens: this.size } },
    );
  }

  private encodePlain(text: string, space = false): readonly number[] {
    if (text === "") return [];
    this.encoder ??= this.definition.encoder();
    const has = this.definition.addSpace === "missing" && text.startsWith(" ");
    return this.encoder.encode(space && !has ? ` ${text}` : text);
  }

  private get specials(): RegExp | null {
    if (this.specialSplit === undefined) this.specialSplit = specialPattern(this.silent.keys());
    return this.specialSplit;
  }

  private encodeWithSpecials(text: string, mark: string | undefined, space: boolean): readonly number[] {
    const plain = (piece: string, atStart: boolean) =>
      this.encodePlain(mark === undefined ? piece : piece.replaceAll(mark, ""), space && atStart);
    if (this.specials === null) return plain(text, true);
    const ids: number[] = [];
    let from = 0;
    for (const match of text.matchAll(this.specials)) {
      for (const id of plain(text.slice(from, match.index), from === 0)) ids.push(id);
      ids.push(this.silent.get(match[0]) as number);
      from = match.index + match[0].length;
    }
    for (const id of plain(text.slice(from), from === 0)) ids.push(id);
    return ids;
  }
}

/**
 * Rebuilds the tokenizer of a GGUF file from its metadata. Cheap: the merge table is built at the first `encode`.
 *
 * A byte that the vocabulary has no token for is dropped, as the reference implementations do: SmolLM2 has none
 * for six ASCII control characters (U+0004, U+0006, U+0013, U+0014, U+0016, U+001D).
 *
 * Throws TokenizerUnsupportedError for another kind than byte-level BPE or SentencePiece with scores, or an unknown `tokenizer.ggml.pre`,
 * ModelFormatError for damaged tables.
 */
export function createTokenizer(metadata: Readonly<Record<string, MetadataValue>>): Tokenizer {
  const json = readString(metadata, "tokenizer.huggingface.json");
  const definition = json === null ? definitionFromGguf(metadata) : definitionFromJson(json, metadata);
  if (definition.tokens.length === 0) {
    throw new ModelFormatError("The tokenizer has no tokens; convert the model to GGUF again.");
  }
  return new GgufTokenizer(definition, metadata);
}

/** SHA-256, hex, of all that a file says of its tokenizer, templates aside. */
export function hashTokenizer(metadata: Readonly<Record<string, MetadataValue>>): string {
  const isPart = (key: string) => key.startsWith("tokenizer.") && !key.startsWith("tokenizer.chat_template");
  const entries = Object.entries(metadata).filter(([key]) => isPart(key));
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  const text = JSON.stringify(entries, (_, value) => (typeof value === "bigint" ? `${value}n` : value));
  return createHash("sha256").update(text).digest("hex");
}
