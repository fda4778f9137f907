// SPDX-License-Identifier: Apache-2.0
// Has Node print the URL of every module that is loaded, one a line, to standard error.
import { writeSync } from "node:fs";
import { register } from "node:module";
import { isMainThread } from "node:worker_threads";

if (isMainThread) register(import.meta.url);

export async function load(url, context, next) {
  writeSync(2, `loads ${url}\n`);
  return next(url, context);
}
