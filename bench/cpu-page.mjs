// SPDX-License-Identifier: Apache-2.0
// Writes the page about speed on CPUs from the JSON files of the suites cpu and, for the share of the machine's limits,
// ops: node bench/cpu-page.mjs bench/results/CPU.json [bench/results/OPS.json]
import { compile } from "./compile.mjs";

const [cpu, ops] = process.argv.slice(2);
if (cpu === undefined) {
  process.stderr.write("usage: node bench/cpu-page.mjs CPU.json [OPS.json]\n");
  process.exit(2);
}
compile();
const { writePage } = await import("./build/bench/cpu-page/main.js");
process.stdout.write(`${writePage(cpu, ops)}\n`);
