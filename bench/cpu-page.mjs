// SPDX-License-Identifier: Apache-2.0
// Writes the page about speed on CPUs from JSON files: one or more of the suite cpu, of one machine, and for the share of
// the machine's limits one of the suite ops: node bench/cpu-page.mjs bench/results/FILE...
import { compile } from "./compile.mjs";

const files = process.argv.slice(2);
if (files.length === 0) {
  process.stderr.write("usage: node bench/cpu-page.mjs FILE...\n");
  process.exit(2);
}
compile();
const { writePage } = await import("./build/bench/cpu-page/main.js");
process.stdout.write(`${writePage(files)}\n`);
