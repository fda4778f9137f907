// SPDX-License-Identifier: Apache-2.0
// npm run bench: builds what is stale, then hands all arguments to the runner in bench/.
import path from "node:path";
import { ensureBuilt } from "./lib/ensure.mjs";
import { entry, passThrough, root } from "./lib/run.mjs";

await entry(async () => {
  await ensureBuilt({ tests: false });
  return passThrough(process.execPath, [path.join(root, "bench/run.mjs"), ...process.argv.slice(2)]);
});
