// SPDX-License-Identifier: Apache-2.0
// dist/bundle: what the package's entries import, in a handful of files instead of some 140. Node takes half a
// millisecond to find, read and link a module, so that importing them one by one cost more than all that they do. Packages
// stay imports, but for those of vendor.mjs, and what is imported when it is needed stays a file of its own.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { filesBelow } from "./packages.mjs";
import { root } from "./run.mjs";
import { vendorBuild, vendorPlugin } from "./vendor.mjs";

const folder = path.join(root, "dist/bundle");

/** Entries by the name of their file; the sources are what the compiler made of src/. */
const entries = {
  index: "dist/index.js",
  server: "dist/serve/index.js",
  "ai-sdk": "dist/ai-sdk/index.js",
  cli: "dist/cli/main.js",
};

const common = {
  absWorkingDir: root,
  outdir: folder,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  legalComments: "none",
  write: false,
  logLevel: "warning",
};

/** Writes what has changed and removes what is no part of it any more: programs may be importing the rest. */
export async function bundleEntries() {
  const { build } = await import("esbuild");
  const own = {
    entryPoints: entries,
    chunkNames: "chunk-[hash]",
    packages: "external",
    plugins: [vendorPlugin],
  };
  const made = await Promise.all([
    build({ ...common, ...own }),
    build({ ...common, ...vendorBuild(path.join(root, "dist/serve")) }),
  ]);
  mkdirSync(path.join(folder, "vendor"), { recursive: true });
  const kept = new Set();
  for (const { path: file, contents } of made.flatMap(({ outputFiles }) => outputFiles)) {
    kept.add(path.relative(folder, file));
    if (!existsSync(file) || !readFileSync(file).equals(contents)) writeFileSync(file, contents);
  }
  for (const name of filesBelow(folder)) if (!kept.has(name)) rmSync(path.join(folder, name));
}
