// SPDX-License-Identifier: Apache-2.0
// npm's install step, in the checkout only (published packages have none). An addon that loads is kept; otherwise it
// is compiled. Loaded in a child process: one that crashes must not take the installation down.
import { spawnSync } from "node:child_process";
import path from "node:path";
import { buildNative } from "./build-native.mjs";
import { entry, root, say } from "./lib/run.mjs";

await entry(async () => {
  const addon = path.join(root, "build/Release/baton.node");
  const probe = spawnSync(process.execPath, ["-e", "require(process.argv[1])", addon], { stdio: "ignore" });
  if (probe.status === 0) return;
  say("compiling the addon (npm ci --ignore-scripts leaves this out)");
  await buildNative({ tests: true });
});
