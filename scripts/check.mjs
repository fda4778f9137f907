// SPDX-License-Identifier: Apache-2.0
// Everything about the sources that can be said without running them: format, lint, types, the rules of the house.
// All of them run, so that one call shows all there is to mend.
import path from "node:path";
import { ensureModules } from "./lib/ensure.mjs";
import { entry, passThrough, root, say } from "./lib/run.mjs";

const checks = {
  "format and lint": ["scripts/format.mjs"],
  types: ["node_modules/typescript/bin/tsc", "--noEmit"],
  package: ["scripts/package-lint.mjs"],
  "public types": ["scripts/api-report.mjs"],
  rules: ["node_modules/vitest/vitest.mjs", "run", "--reporter=dot", "test/rules"],
};

await entry(async () => {
  await ensureModules();
  const failed = Object.entries(checks).filter(([, [program, ...args]]) => {
    return passThrough(process.execPath, [path.join(root, program), ...args]) !== 0;
  });
  if (failed.length > 0) say(`to be mended: ${failed.map(([name]) => name).join(", ")}`);
  return failed.length > 0 ? 1 : 0;
});
