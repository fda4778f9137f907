// SPDX-License-Identifier: Apache-2.0
// Writes the page about quality from the suite's JSON file: node bench/quality-page.mjs bench/results/FILE.json
import { spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const [file] = process.argv.slice(2);
if (file === undefined) {
  process.stderr.write("usage: node bench/quality-page.mjs FILE\n");
  process.exit(2);
}
const compiler = path.join(here, "../node_modules/typescript/bin/tsc");
const compiled = spawnSync(process.execPath, [compiler, "-p", here], { stdio: "inherit" });
if (compiled.status !== 0) process.exit(compiled.status ?? 1);
const { writePage } = await import("./build/bench/quality/page/main.js");
process.stdout.write(`${await writePage(file)}\n`);
