// SPDX-License-Identifier: Apache-2.0
// The sources as they lie on disk, committed or not, without what is installed or generated.
import { readdirSync } from "node:fs";
import path from "node:path";
import { root } from "./run.mjs";

const leaveOut = new Set([
  "node_modules",
  "dist",
  "build",
  "build-cmake",
  "prebuilds",
  ".git",
  "__pycache__",
  ".venv",
]);

/** What a running test makes and takes away again begins with a dot. */
const isPassing = (name) => name.startsWith(".");

/**
 * @param {string[]} folders relative to the root
 * @param {string[]} extensions with the dot
 * @param {string} [base] another root than the repository's
 * @returns {string[]} paths relative to the root, sorted
 */
export function sourceFiles(folders, extensions, base = root) {
  const found = [];
  const visit = (folder) => {
    for (const item of readdirSync(path.join(base, folder), { withFileTypes: true })) {
      const file = path.posix.join(folder, item.name);
      if (item.isDirectory()) {
        if (!leaveOut.has(item.name) && !isPassing(item.name)) visit(file);
      } else if (extensions.includes(path.extname(item.name))) found.push(file);
    }
  };
  const top = readdirSync(base);
  for (const folder of folders) if (top.includes(folder.split("/")[0])) visit(folder);
  return found.sort();
}
