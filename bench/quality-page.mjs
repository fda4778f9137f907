// SPDX-License-Identifier: Apache-2.0
// Writes the page about quality from the suite's JSON file: node bench/quality-page.mjs bench/results/FILE.json
import { compile } from "./compile.mjs";

const [file] = process.argv.slice(2);
if (file === undefined) {
  process.stderr.write("usage: node bench/quality-page.mjs FILE\n");
  process.exit(2);
}
compile();
const { writePage } = await import("./build/bench/quality/page/main.js");
process.stdout.write(`${await writePage(file)}\n`);
