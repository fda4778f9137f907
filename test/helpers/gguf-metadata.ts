// SPDX-License-Identifier: Apache-2.0
// A copy of a GGUF file with one number more in its metadata, for tests of what the number switches on.

import { readFileSync, writeFileSync } from "node:fs";

const headerBytes = 24; // magic, version, number of tensors, number of entries
const alignment = 32;

const text = (value: string): Buffer => {
  const bytes = Buffer.from(value, "utf8");
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return Buffer.concat([length, bytes]);
};

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

const [typeU32, typeString] = [4, 8];

/** Writes `from` to `to` with `key` = `value` (uint32) as its first entry. Tensor data keeps its alignment. */
export function copyWithNumber(from: string, to: string, key: string, value: number): void {
  const file = readFileSync(from);
  const header = Buffer.from(file.subarray(0, headerBytes));
  header.writeBigUInt64LE(header.readBigUInt64LE(16) + 2n, 16);
  const entry = Buffer.concat([text(key), u32(typeU32), u32(value)]);
  const padding = Buffer.concat([text("general.padding"), u32(typeString)]);
  const missing = (alignment - ((entry.length + padding.length + 8) % alignment)) % alignment;
  const filler = text(" ".repeat(missing));
  writeFileSync(to, Buffer.concat([header, entry, padding, filler, file.subarray(headerBytes)]));
}
