// SPDX-License-Identifier: Apache-2.0
// What require() gets: dist/cjs holds one line per entry, which requires the ESM module, and the declarations once
// more in a folder whose package.json says CommonJS. There is one copy of every module, so classes, the addon and
// what is loaded are the same whoever asks; TypeScript takes the format of a declaration from its place, and would
// call ESM declarations unreachable from CommonJS files (`module: node16`).
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { root, Stop } from "./run.mjs";

const licence = "// SPDX-License-Identifier: Apache-2.0";

/** Entries of package.json that have both forms, as paths relative to the package. */
export function dualEntries(manifest) {
  return Object.values(manifest.exports).filter((entry) => entry.import && entry.require);
}

function entryText(from, target) {
  const request = path.posix.relative(path.posix.dirname(from), target);
  return `${licence}
"use strict";
try {
  module.exports = require("${request}");
} catch (error) {
  if (error.code !== "ERR_REQUIRE_ESM") throw error;
  throw new Error(
    "require() of baton-lm needs Node 20.19, 22.12 or newer, and this is Node " + process.versions.node +
      ". Install one of those, or write await import() in place of require().",
    { cause: error },
  );
}
`;
}

const requests = /(?:from|import|import\()\s*"(\.[^"]+)\.js"/g;

/** The declaration files that `entries` reach. */
export function reachable(entries) {
  const found = new Set();
  const visit = (file) => {
    if (found.has(file)) return;
    found.add(file);
    for (const [, request] of readFileSync(file, "utf8").matchAll(requests))
      visit(path.join(path.dirname(file), `${request}.d.ts`));
  };
  for (const entry of entries) visit(entry);
  return [...found];
}

/** After the compiler: dist/cjs from dist/. */
export function writeCommonJs() {
  const manifest = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
  const [dist, cjs] = [path.join(root, "dist"), path.join(root, "dist/cjs")];
  mkdirSync(cjs, { recursive: true });
  writeFileSync(path.join(cjs, "package.json"), '{ "type": "commonjs" }\n');
  const entries = dualEntries(manifest);
  for (const file of reachable(entries.map((entry) => path.join(root, entry.import.types))))
    cpSync(file, path.join(cjs, path.relative(dist, file)));
  for (const { require: required, import: imported } of entries) {
    const file = path.join(root, required.default);
    if (!file.startsWith(cjs + path.sep))
      throw new Stop(`package.json: ${required.default} is not in dist/cjs`);
    writeFileSync(file, entryText(required.default, imported.default));
  }
}
