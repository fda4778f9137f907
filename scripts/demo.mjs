// SPDX-License-Identifier: Apache-2.0
// npm run demo: builds what is stale, then runs the demo's chain with all arguments handed on.
import path from "node:path";
import { ensureBuilt } from "./lib/ensure.mjs";
import { entry, passThrough, root } from "./lib/run.mjs";

await entry(async () => {
  await ensureBuilt({ tests: false });
  return passThrough(process.execPath, [path.join(root, "demo/demo.mjs"), ...process.argv.slice(2)]);
});
