// SPDX-License-Identifier: Apache-2.0
// One formatter per language: Biome for TypeScript and JavaScript (lint and import order too), clang-format for C++.
//
//   format.mjs [--write]     without --write it only reports, and fails when something is out of shape
import { spawnSync } from "node:child_process";
import path from "node:path";
import { clangFormat } from "./lib/clang-format.mjs";
import { ensureModules } from "./lib/ensure.mjs";
import { sourceFiles } from "./lib/files.mjs";
import { entry, passThrough, root, say } from "./lib/run.mjs";

function cppInShape(write) {
  const files = sourceFiles(["native", "test/native"], [".h", ".cpp", ".cu", ".cuh"]);
  const args = write ? ["-i", ...files] : ["--dry-run", "--Werror", ...files];
  return files.length === 0 || spawnSync(clangFormat(), args, { cwd: root, stdio: "inherit" }).status === 0;
}

await entry(async () => {
  const write = process.argv.includes("--write");
  await ensureModules();
  const biome = path.join(root, "node_modules/@biomejs/biome/bin/biome");
  const tsFine =
    passThrough(process.execPath, [
      biome,
      "check",
      "--error-on-warnings",
      ...(write ? ["--write"] : []),
      ".",
    ]) === 0;
  const cppFine = cppInShape(write);
  if (tsFine && cppFine) return 0;
  say(
    write
      ? "not everything could be mended by itself; see above"
      : "run `npm run format` to mend what it can",
  );
  return 1;
});
