// SPDX-License-Identifier: Apache-2.0
// Byte-level BPE spells each byte of UTF-8 as one printable character. A token is therefore bytes, not text: only
// a sequence of tokens is text, and a character may end in the middle of one.

import { OptionInvalidError } from "../errors.js";
import type { TokenBytes, TokenStream } from "./tokenizer.js";

/** Values of `tokenizer.ggml.token_type`. */
export const tokenType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** Printable Latin-1 bytes stand for themselves; the others for 256, 257, ... in order of the byte. */
const byteOfCharacter: ReadonlyMap<number, number> = (() => {
  const table = new Map<number, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    table.set(printable ? byte : next++, byte);
  }
  return table;
})();

/** Writes the token's bytes at `at` and returns the end. `bytes` has room for three bytes a UTF-16 unit. */
function writeToken(token: string, type: number, bytes: Uint8Array, at: number): number {
  if (type === tokenType.normal) {
    let end = at;
    let index = 0;
    for (; index < token.length; index++) {
      const byte = byteOfCharacter.get(token.charCodeAt(index));
      if (byte === undefined) break;
      bytes[end++] = byte;
    }
    // A spelling outside the byte alphabet is text as it stands.
    if (index === token.length) return end;
  }
  if (type === tokenType.byte) {
    const match = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
    if (match?.[1] !== undefined) {
      bytes[at] = Number.parseInt(match[1], 16);
      return at + 1;
    }
  }
  return at + new TextEncoder().encodeInto(token, bytes.subarray(at)).written;
}

/** Control, unknown and unused tokens get no bytes. */
export function buildTokenBytes(tokens: readonly string[], types: ArrayLike<number>): TokenBytes {
  let room = 0;
  for (const token of tokens) room += 3 * token.length;
  const bytes = new Uint8Array(room);
  const offsets = new Uint32Array(tokens.length + 1);
  let end = 0;
  for (const [id, token] of tokens.entries()) {
    const type = types[id] ?? tokenType.normal;
    const silent = type === tokenType.control || type === tokenType.unknown || type === tokenType.unused;
    if (!silent) end = writeToken(token, type, bytes, end);
    offsets[id + 1] = end;
  }
  return { bytes: bytes.slice(0, end), offsets };
}

/** Bytes of a sequence of tokens. */
export function gatherBytes(table: TokenBytes, ids: ArrayLike<number>): Uint8Array {
  const { bytes, offsets } = table;
  let length = 0;
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] as number;
    const start = offsets[id];
    const end = offsets[id + 1];
    if (start === undefined || end === undefined) {
      throw new OptionInvalidError(
        `Token id ${id} at index ${i} is not in the vocabulary of ${offsets.length - 1} tokens; ` +
          "decode ids with the tokenizer of the model that made them.",
        { facts: { id, index: i, vocab: offsets.length - 1 } },
      );
    }
    length += end - start;
  }
  const out = new Uint8Array(length);
  let at = 0;
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i] as number;
    const start = offsets[id] as number;
    const end = offsets[id + 1] as number;
    // Tokens are a few bytes: copying one by one beats making a view for each.
    for (let from = start; from < end; from++) out[at++] = bytes[from] as number;
  }
  return out;
}

/** A byte order mark is text like any other: the decoder must not swallow it. */
const newDecoder = () => new TextDecoder("utf-8", { ignoreBOM: true });

export function decodeBytes(bytes: Uint8Array): string {
  return newDecoder().decode(bytes);
}

export class ByteStream implements TokenStream {
  private readonly table: TokenBytes;
  private readonly decoder = newDecoder();

  constructor(table: TokenBytes) {
    this.table = table;
  }

  push(ids: ArrayLike<number>): string {
    return this.decoder.decode(gatherBytes(this.table, ids), { stream: true });
  }

  flush(): string {
    return this.decoder.decode();
  }
}
