// SPDX-License-Identifier: Apache-2.0
// Compiles bench/ to bench/build/: trials are processes of plain JavaScript, and pages are made by it. Ends the process
// where that fails.
import { spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";

export function compile() {
  const here = path.dirname(fileURLToPath(import.meta.url));
  const compiler = path.join(here, "../node_modules/typescript/bin/tsc");
  const compiled = spawnSync(process.execPath, [compiler, "-p", here], { stdio: "inherit" });
  if (compiled.status !== 0) process.exit(compiled.status ?? 1);
}
