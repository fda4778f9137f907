// SPDX-License-Identifier: Apache-2.0
// What `npm run demo` and `npm test` need before they start, made when it is missing or stale. Each step is
// incremental: a second run finds everything in place.
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { buildNative } from "../build-native.mjs";
import { bundleEntries } from "./bundle.mjs";
import { writeCommonJs } from "./cjs.mjs";
import { npmCommand, quietly, root, say, withLock } from "./run.mjs";
import { requireNode } from "./tools.mjs";

/** node_modules/.package-lock.json is npm's record of what it installed; optional packages may be absent. */
export function modulesInStep(folder = root) {
  const packages = (file) => JSON.parse(readFileSync(path.join(folder, file), "utf8")).packages;
  if (!existsSync(path.join(folder, "node_modules/.package-lock.json"))) return false;
  const installed = packages("node_modules/.package-lock.json");
  return Object.entries(packages("package-lock.json")).every(([name, wanted]) => {
    if (name === "" || (wanted.optional && !installed[name])) return true;
    return installed[name]?.version === wanted.version && existsSync(path.join(folder, name));
  });
}

export async function ensureModules() {
  requireNode();
  if (modulesInStep()) return;
  await withLock(path.join(root, "build-cmake/npm.lock"), () => {
    if (modulesInStep()) return;
    say("installing npm packages (npm ci)");
    const [command, ...args] = npmCommand();
    quietly(command, [...args, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
  });
}

/** Compiles src/ to dist/; the compiler's own build info makes an unchanged tree cheap, and what the package has in place of it takes moments. */
export async function ensureTypeScript() {
  await withLock(path.join(root, "build-cmake/tsc.lock"), async () => {
    if (!existsSync(path.join(root, "dist/index.js"))) say("compiling TypeScript");
    quietly(process.execPath, [
      path.join(root, "node_modules/typescript/bin/tsc"),
      "-p",
      "tsconfig.build.json",
    ]);
    await bundleEntries();
    writeCommonJs();
  });
}

/** Everything that running the library or its tests needs. Returns what the native build made. */
export async function ensureBuilt({ tests = true } = {}) {
  await ensureModules();
  const native = await buildNative({ tests });
  await ensureTypeScript();
  return native;
}
