// SPDX-License-Identifier: Apache-2.0
// Compiled files lie deeper than their sources, so the checkout is found by its package.json.
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

function findRoot(): string {
  for (let folder = path.dirname(fileURLToPath(import.meta.url)); ; folder = path.dirname(folder)) {
    const manifest = path.join(folder, "package.json");
    if (existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).name === "baton-lm") return folder;
    if (path.dirname(folder) === folder) throw new Error("the benchmarks run from a checkout of baton-lm");
  }
}

export const root = findRoot();
export const rivals = path.join(root, "bench/rivals");

/** URL of the built package, for a dynamic import: the benchmarks measure what users get. */
export const packageUrl = pathToFileURL(path.join(root, "dist/index.js")).href;
