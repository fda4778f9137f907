// SPDX-License-Identifier: Apache-2.0
// SentencePiece's byte-pair encoding (arXiv 1808.06226): characters are joined, the pair of the highest score first, the
// leftmost of equals; what is no piece in the end falls back to its bytes. A space is "▁" in every piece. The score of a
// pair is its piece's (`tokenizer.ggml.model` = "llama"), or its place among merges (tokenizer.json).

import { tokenType } from "./byte-level.js";
import type { TokenBytes } from "./tokenizer.js";
import { patternOf } from "./vocabulary.js";

export interface Pieces {
  /** [V] */
  tokens: readonly string[];
  /** [V], values of `tokenType`. */
  types: ArrayLike<number>;
  /** Of joining two neighbours to the piece `id`, the best highest; undefined: never. */
  score(left: string, right: string, id: number): number | undefined;
}

const space = "\u2581";

/** A pair of neighbours that could become a piece. `length`: of its text, to see that neither has changed since. */
interface Candidate {
  score: number;
  left: number;
  right: number;
  length: number;
}

const before = (a: Candidate, b: Candidate) => a.score > b.score || (a.score === b.score && a.left < b.left);

/** Binary heap, the best on top. */
class Candidates {
  private readonly items: Candidate[] = [];

  push(item: Candidate): void {
    const { items } = this;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(item, items[parent] as Candidate)) break;
      items[at] = items[parent] as Candidate;
      at = parent;
    }
    items[at] = item;
  }

  pop(): Candidate | undefined {
    const { items } = this;
    const top = items[0];
    const last = items.pop();
    if (last === undefined || items.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && before(items[child + 1] as Candidate, items[child] as Candidate))
        child++;
      if (!before(items[child] as Candidate, last)) break;
      items[at] = items[child] as Candidate;
      at = child;
    }
    items[at] = last;
    return top;
  }
}

export class PieceEncoder {
  private readonly score: Pieces["score"];
  /** Pieces that characters may be joined to. */
  private readonly idOf = new Map<string, number>();
  /** Id of the token of each byte, -1 where there is none. */
  private readonly byteIds = new Int32Array(256).fill(-1);
  private readonly unknownId: number | null = null;
  /** Pieces that the user of SentencePiece named: cut out of the text first, the longest at the leftmost place. */
  private readonly whole: RegExp | null = null;

  constructor({ tokens, types, score }: Pieces) {
    this.score = score;
    const named: string[] = [];
    for (const [id, token] of tokens.entries()) {
      const type = types[id];
      if (type === tokenType.byte) {
        const match = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
        if (match?.[1] !== undefined) this.byteIds[Number.parseInt(match[1], 16)] = id;
      } else if (type === tokenType.normal || type === tokenType.userDefined) {
        const spelled = token.replaceAll(" ", space);
        if (!this.idOf.has(spelled)) this.idOf.set(spelled, id);
        if (type === tokenType.userDefined && token !== "") named.push(spelled);
      } else if (type === tokenType.unknown) {
        this.unknownId ??= id;
      }
    }
    if (named.length > 0) this.whole = patternOf(named, "gu");
  }

  /** Ids of a text with nothing added. */
  encode(text: string): number[] {
    const spelled = text.replaceAll(" ", space);
    const ids: number[] = [];
    let from = 0;
    for (const match of this.whole === null ? [] : spelled.matchAll(this.whole)) {
      this.join(spelled.slice(from, match.index), ids);
      ids.push(this.idOf.get(match[0]) as number);
      from = match.index + match[0].length;
    }
    this.join(spelled.slice(from), ids);
    return ids;
  }

  private join(text: string, ids: number[]): void {
    const symbols = Array.from(text);
    const next = symbols.map((_, i) => i + 1);
    const previous = symbols.map((_, i) => i - 1);
    const candidates = new Candidates();
    const propose = (left: number, right: number) => {
      if (left < 0 || right >= symbols.length) return;
      const [a, b] = [symbols[left] as string, symbols[right] as string];
      const id = this.idOf.get(a + b);
      const score = id === undefined ? undefined : this.score(a, b, id);
      if (score !== undefined) candidates.push({ score, left, right, length: a.length + b.length });
    };
    for (let i = 0; i + 1 < symbols.length; i++) propose(i, i + 1);
    for (let pair = candidates.pop(); pair !== undefined; pair = candidates.pop()) {
      const { left, right, length } = pair;
      const [a, b] = [symbols[left] as string, symbols[right] as string];
      if (a === "" || b === "" || a.length + b.length !== length) continue; // one was joined meanwhile
      symbols[left] = a + b;
      symbols[right] = "";
      const after = next[right] as number;
      next[left] = after;
      if (after < symbols.length) previous[after] = left;
      propose(previous[left] as number, left);
      propose(left, after);
    }
    for (const symbol of symbols) if (symbol !== "") this.emit(symbol, ids);
  }

  /** A piece; else its bytes; a byte without a token becomes the unknown token, or nothing. */
  private emit(symbol: string, ids: number[]): void {
    const id = this.idOf.get(symbol);
    if (id !== undefined) {
      ids.push(id);
      return;
    }
    const bytes = [...new TextEncoder().encode(symbol)].map((byte) => this.byteIds[byte] as number);
    if (bytes.every((byte) => byte >= 0)) ids.push(...bytes);
    else if (this.unknownId !== null) ids.push(this.unknownId);
  }
}

/** Bytes of every piece's text; control, unknown and unused ones get none. */
export function pieceBytes({ tokens, types }: Pieces): TokenBytes {
  const encoder = new TextEncoder();
  const offsets = new Uint32Array(tokens.length + 1);
  const parts: Uint8Array[] = [];
  for (const [id, token] of tokens.entries()) {
    const type = types[id];
    let part: Uint8Array = new Uint8Array();
    const byte = type === tokenType.byte ? /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1] : undefined;
    if (byte !== undefined) part = Uint8Array.of(Number.parseInt(byte, 16));
    else if (type === tokenType.normal || type === tokenType.userDefined)
      part = encoder.encode(token.replaceAll(space, " "));
    parts.push(part);
    offsets[id + 1] = (offsets[id] as number) + part.length;
  }
  const bytes = new Uint8Array(offsets[tokens.length] as number);
  for (const [id, part] of parts.entries()) bytes.set(part, offsets[id]);
  return { bytes, offsets };
}
