// SPDX-License-Identifier: Apache-2.0
// The documentation's site. What builds it is installed apart, in site/, by its own lock file.
//
//   docs.mjs            builds it into site/.build/dist and checks its links
//   docs.mjs --dev      serves it while pages are written
//   docs.mjs --shots    builds it, opens every page in Chromium, and leaves pictures in site/.build/shots
import path from "node:path";
import { modulesInStep } from "./lib/ensure.mjs";
import { entry, npmCommand, passThrough, quietly, root, say } from "./lib/run.mjs";

const site = path.join(root, "site");

await entry(async () => {
  if (!modulesInStep(site)) {
    say("installing what builds the site (npm ci in site/)");
    const [npm, ...args] = npmCommand();
    quietly(npm, [...args, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", site]);
  }
  const file = process.argv.includes("--shots") ? "shots.mjs" : "build.mjs";
  return passThrough(process.execPath, [path.join(site, file), ...process.argv.slice(2)]);
});
