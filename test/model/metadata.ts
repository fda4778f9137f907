// SPDX-License-Identifier: Apache-2.0
// Metadata of GGUF files without the addon: what is tested here is TypeScript's own reading of it.
import { closeSync, openSync, readSync } from "node:fs";
import type { MetadataValue } from "../../src/native/types.js";

/** Reads as much of the file as metadata take, at most 64 MiB. */
export function readMetadata(path: string): Record<string, MetadataValue> {
  const bytes = Buffer.alloc(64 << 20);
  const file = openSync(path, "r");
  const view = new DataView(bytes.buffer, 0, readSync(file, bytes, 0, bytes.length, 0));
  closeSync(file);
  let at = 8;
  const advance = (size: number) => {
    at += size;
    return at - size;
  };
  const count = () => Number(view.getBigUint64(advance(8), true));
  const string = () => {
    const length = count();
    return bytes.toString("utf8", at, advance(length) + length);
  };
  const readers: Record<number, () => MetadataValue> = {
    0: () => view.getUint8(advance(1)),
    1: () => view.getInt8(advance(1)),
    2: () => view.getUint16(advance(2), true),
    3: () => view.getInt16(advance(2), true),
    4: () => view.getUint32(advance(4), true),
    5: () => view.getInt32(advance(4), true),
    6: () => view.getFloat32(advance(4), true),
    7: () => view.getUint8(advance(1)) !== 0,
    8: string,
    9: () => {
      const read = reader(view.getUint32(advance(4), true));
      return Array.from({ length: count() }, read);
    },
    10: () => Number(view.getBigUint64(advance(8), true)),
    11: () => Number(view.getBigInt64(advance(8), true)),
    12: () => view.getFloat64(advance(8), true),
  };
  const reader = (type: number) => {
    const found = readers[type];
    if (found === undefined) throw new Error(`metadata type ${type}`);
    return found;
  };
  count(); // tensors
  const metadata: Record<string, MetadataValue> = {};
  for (let left = count(); left > 0; left--) {
    const key = string();
    metadata[key] = reader(view.getUint32(advance(4), true))();
  }
  return metadata;
}
