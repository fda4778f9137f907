// SPDX-License-Identifier: Apache-2.0
// Prints what a run on a GPU measured: main.js LINES [REPORT...], as bench/gpu/run.sh does at its end.
import { readRunFiles } from "./files.js";
import { failureTable, figureTable, noteTable, targetTable } from "./tables.js";

const run = readRunFiles(process.argv.slice(2));
const parts = [
  `device: ${run.device ?? "none"}`,
  noteTable(run),
  figureTable(run),
  failureTable(run),
  targetTable(run),
];
process.stdout.write(`${parts.filter((part) => part !== "").join("\n\n")}\n`);
