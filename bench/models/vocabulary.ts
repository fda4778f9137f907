// SPDX-License-Identifier: Apache-2.0
// A byte-level vocabulary of any size whose merges are true ones: the bytes, pairs of letters, the same behind a space (so
// that there are words of one token), pairs of those pairs.

export interface Vocabulary {
  tokens: string[];
  /** GGUF's kinds: 1 normal, 3 control. */
  kinds: number[];
  merges: string[];
}

const control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/** The characters that stand for the bytes 0 to 255 in byte-level BPE: printable ones for themselves, the others from 256 on. */
function byteCharacters(): string[] {
  const printable = (byte: number) =>
    (byte > 32 && byte < 127) || (byte > 160 && byte < 173) || (byte > 173 && byte < 256);
  let other = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : other++));
}

export function makeVocabulary(size: number): Vocabulary {
  const letters = Array.from("etaoinshrdlucmfwygpbvkxqjz");
  const tokens = [...control, ...byteCharacters()];
  const merges: string[] = [];
  const add = (left: string, right: string) => {
    if (tokens.length >= size) return;
    tokens.push(left + right);
    merges.push(`${left} ${right}`);
  };
  const pairs = letters.flatMap((left) => letters.map((right) => [left, right] as const));
  for (const [left, right] of pairs) add(left, right);
  const space = byteCharacters()[32] as string;
  for (const pair of pairs) add(space, pair.join(""));
  for (const left of pairs) {
    if (tokens.length >= size) break;
    for (const right of pairs) add(left.join(""), right.join(""));
  }
  if (tokens.length !== size) throw new RangeError(`no vocabulary of ${size} tokens can be made`);
  return { tokens, kinds: tokens.map((_, id) => (id < control.length ? 3 : 1)), merges };
}
