#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// The entry of the program. The first Ctrl-C or SIGTERM stops the work and releases everything; the second ends the
// process at once.

import { exitCodes } from "./exit-codes.js";
import { runProgram } from "./program.js";

const controller = new AbortController();
const interrupt = () => {
  if (controller.signal.aborted) process.exit(exitCodes.interrupted);
  controller.abort();
};
process.on("SIGINT", interrupt);
process.on("SIGTERM", interrupt);
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    controller.abort(); // the reader of a pipe went away: nobody wants the rest
  });
}

process.exitCode = await runProgram(process.argv.slice(2), {
  terminal: { stdout: process.stdout, stderr: process.stderr },
  signal: controller.signal,
  directory: process.cwd(),
  stdin: process.stdin,
});
process.off("SIGINT", interrupt);
process.off("SIGTERM", interrupt);
