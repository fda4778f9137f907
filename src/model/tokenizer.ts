// SPDX-License-Identifier: Apache-2.0
// Text and token ids. One law: nothing is added. No BOS, no space, no newline; what a caller wants in front of a
// segment it puts there itself (`addBos`, `bosId` say what the model was trained with).

import type { MetadataValue } from "../native/types.js";

export interface EncodeOptions {
  /**
   * true: the text of control tokens ("<|im_start|>") becomes those tokens: for templates and openers.
   * false: it stays plain text: for everything that a user typed.
   */
  specials: boolean;
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
  /** `tokenizer.ggml.pre`, or "tokenizer.json" when the file carries a whole tokenizer. */
  readonly preTokenizer: string;
  /** The model's BOS, null if it names none. */
  readonly bosId: number | null;
  /** A text segment at frame position 0 starts with `bosId`. */
  readonly addBos: boolean;
  /** Closing tokens: EOS first (the label in training), then end-of-turn tokens. */
  readonly closers: readonly number[];
  /** The token of "\n", null if no single token says it. */
  readonly newlineId: number | null;

  /** Ids of the text with nothing added. */
  encode(text: string, options: EncodeOptions): Int32Array;
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

/**
 * Rebuilds the tokenizer of a GGUF file from its metadata. Cheap: the merge table is built at the first `encode`.
 * Throws TokenizerUnsupportedError for another kind than byte-level BPE or an unknown `tokenizer.ggml.pre`.
 */
export declare function createTokenizer(metadata: Record<string, MetadataValue>): Tokenizer;
