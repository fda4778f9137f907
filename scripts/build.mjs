// SPDX-License-Identifier: Apache-2.0
// Builds everything that is stale: npm packages, the native part, dist/.
import { ensureBuilt } from "./lib/ensure.mjs";
import { entry, say } from "./lib/run.mjs";

await entry(async () => {
  await ensureBuilt();
  say("everything is built");
});
