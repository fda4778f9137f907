// SPDX-License-Identifier: Apache-2.0
// Loads the tiny model with the options given as JSON, under whatever limit the shell has set, until it works or
// fails, then with a small cache. Prints both outcomes and the most address space that the process had.

import { readFileSync } from "node:fs";
import { BatonError } from "../../../dist/errors.js";
import { loadModel } from "../../../dist/model/model.js";
import { generate, tinyPath } from "./tiny.mjs";

async function attempt(options) {
  try {
    const model = await loadModel(tinyPath, options);
    const tokens = await generate(model.engine, { maxTokens: 5 });
    await model.close();
    return { tokens: tokens.length };
  } catch (error) {
    const { code, message, facts } = error;
    return { typed: BatonError.isInstance(error), code, message, facts };
  }
}

const asked = await attempt(JSON.parse(process.argv[2]));
const modest = await attempt({ threads: 1, cacheBytes: 1 << 20, maxBatchRows: 16 });
const peakBytes = Number(/VmPeak:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
console.log(JSON.stringify({ asked, modest, peakBytes }));
