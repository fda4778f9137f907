// SPDX-License-Identifier: Apache-2.0
// dist/bundle: what the package's entries import, in a handful of files instead of some 140. Node takes half a
// millisecond to find, read and link a module, so that importing them one by one cost more than all that they do. Packages
// stay imports, and what is imported when it is needed stays a file of its own.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { root } from "./run.mjs";

const folder = path.join(root, "dist/bundle");

/** Entries by the name of their file; the sources are what the compiler made of src/. */
const entries = {
  index: "dist/index.js",
  server: "dist/serve/index.js",
  "ai-sdk": "dist/ai-sdk/index.js",
  cli: "dist/cli/main.js",
};

/** Writes what has changed and removes what is no part of it any more: programs may be importing the rest. */
export async function bundleEntries() {
  const { build } = await import("esbuild");
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: entries,
    outdir: folder,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20.19",
    packages: "external",
    chunkNames: "chunk-[hash]",
    legalComments: "none",
    write: false,
    logLevel: "warning",
  });
  mkdirSync(folder, { recursive: true });
  const kept = new Set(outputFiles.map((one) => path.basename(one.path)));
  for (const { path: file, contents } of outputFiles) {
    if (!existsSync(file) || !readFileSync(file).equals(contents)) writeFileSync(file, contents);
  }
  for (const name of readdirSync(folder)) if (!kept.has(name)) rmSync(path.join(folder, name));
}
