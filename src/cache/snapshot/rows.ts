// SPDX-License-Identifier: Apache-2.0
// Rows as a snapshot's notes have them: token ids as int32, -1 for an embedding row, then the embedding rows as float32,
// in order; little endian.

import { endianness } from "node:os";
import type { RestoredSegment } from "../../native/snapshot-types.js";
import type { Row } from "../view.js";

/** Both ways: numbers of 4 bytes, of this machine and little endian. */
function littleEndian(bytes: Uint8Array): Uint8Array {
  return endianness() === "LE" ? bytes : Buffer.from(bytes).swap32();
}

export function encodeRows(rows: readonly Row[]): Uint8Array {
  const soft = rows.filter((row): row is Float32Array => typeof row !== "number");
  const ids = Int32Array.from(rows, (row) => (typeof row === "number" ? row : -1));
  const parts = [ids, ...soft].map((part) => new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  return littleEndian(Buffer.concat(parts));
}

/** Null: these are no `count` rows of a model of this width and vocabulary. */
export function decodeRows(
  notes: Uint8Array,
  count: number,
  { hidden, vocab }: { hidden: number; vocab: number },
): Row[] | null {
  if (notes.length < 4 * count || notes.length % 4 !== 0) return null;
  const bytes = new Uint8Array(littleEndian(notes)); // aligned
  const ids = new Int32Array(bytes.buffer, 0, count);
  const soft = new Float32Array(bytes.buffer, 4 * count);
  const rows: Row[] = [];
  let at = 0;
  for (const id of ids) {
    if (id < -1 || id >= vocab) return null;
    if (id >= 0) rows.push(id);
    else {
      const row = soft.subarray(at, at + hidden);
      at += hidden;
      if (at > soft.length || !row.every(Number.isFinite)) return null;
      rows.push(row);
    }
  }
  return at === soft.length ? rows : null;
}

/** Runs of tokens and runs of embedding rows, in order. */
export function contentOf(rows: readonly Row[]): RestoredSegment["content"] {
  const content: RestoredSegment["content"] = [];
  for (let begin = 0, end = 0; begin < rows.length; begin = end) {
    const tokens = typeof rows[begin] === "number";
    for (end = begin; end < rows.length && (typeof rows[end] === "number") === tokens; ) end += 1;
    const run = rows.slice(begin, end);
    content.push(
      tokens ? { tokens: Int32Array.from(run as number[]) } : { rows: joined(run as Float32Array[]) },
    );
  }
  return content;
}

function joined(rows: readonly Float32Array[]): Float32Array {
  const width = rows[0]?.length ?? 0;
  const all = new Float32Array(rows.length * width);
  for (const [i, row] of rows.entries()) all.set(row, i * width);
  return all;
}
