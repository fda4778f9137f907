// SPDX-License-Identifier: Apache-2.0
// Writes the page about GPUs, docs/gpu.md, from what bench/gpu/run.sh left: node bench/gpu-page.mjs [LINES.jsonl REPORT.json ...].
// Without a file it says what is measured, and that it was not.
import { compile } from "./compile.mjs";

compile();
const { writePage } = await import("./build/bench/gpu-page/main.js");
process.stdout.write(`${writePage(process.argv.slice(2))}\n`);
