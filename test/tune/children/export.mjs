// SPDX-License-Identifier: Apache-2.0
// Exports two prompts in turns into the folder that is its argument, until it is killed. Everything of a prompt says
// which of the two it is: its rows, their number, its contract. Prints a dot after each.

import { writeSync } from "node:fs";
import { exportPrompt } from "../../../dist/tune/export.js";

const hidden = 4096; // 64 KiB and more of rows, so that a write takes a while
const contract = {
  version: 1,
  base: { contentHash: "aa", weightType: "F32" },
  layout: "frames",
  format: [],
  opener: [1],
  closers: [2],
  reads: [],
  own: [],
};
for (let turn = 0; ; turn++) {
  const count = 4 + (turn % 2);
  await exportPrompt(process.argv[2], {
    rows: new Float32Array(count * hidden).fill(count),
    count,
    model: { hidden, heads: 1, layers: 1 },
    baseModel: "any",
    init: { kind: "RANDOM" },
    contract: { ...contract, lead: String(count) },
  });
  writeSync(1, ".");
}
