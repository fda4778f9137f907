// SPDX-License-Identifier: Apache-2.0
// Whether a shared library is all there. Linux maps a file that was cut off (a full disk, an installation that was
// interrupted) without a word, and the process dies of SIGBUS at the first page that is missing, with no error to catch.

import { closeSync, fstatSync, openSync, readSync } from "node:fs";

/** Offsets in the header of a 64-bit ELF file, little-endian. */
const header = { bytes: 64, sectionOffset: 40, sectionSize: 58, sectionCount: 60 } as const;

/**
 * What is wrong with an ELF file whose table of sections, the last thing in it, ends behind the file's end; null for others:
 * the system's own loader says what is wrong with those.
 */
export function cutOff(path: string): string | null {
  const file = openSync(path, "r");
  try {
    const start = Buffer.alloc(header.bytes);
    const read = readSync(file, start, 0, header.bytes, 0);
    if (read < header.bytes || start.readUInt32BE(0) !== 0x7f454c46 || start[4] !== 2 || start[5] !== 1)
      return null;
    const sections = start.readUInt16LE(header.sectionSize) * start.readUInt16LE(header.sectionCount);
    const whole = Number(start.readBigUInt64LE(header.sectionOffset)) + sections;
    const { size } = fstatSync(file);
    return size < whole ? `is cut off: ${size} of ${whole} bytes; remove its folder and install again` : null;
  } finally {
    closeSync(file);
  }
}
