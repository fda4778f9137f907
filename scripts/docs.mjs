// SPDX-License-Identifier: Apache-2.0
// The documentation's site. What builds it is installed apart, in site/, by its own lock file.
//
//   docs.mjs            builds it into site/.build/dist and checks its links
//   docs.mjs --dev      serves it while pages are written
//   docs.mjs --shots    builds it, opens every page in Chromium, and leaves pictures in site/.build/shots
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { entry, npmCommand, passThrough, quietly, root, say } from "./lib/run.mjs";

const site = path.join(root, "site");

/** Whether node_modules has the versions of the lock file; packages of other platforms are not there. */
function modulesInStep() {
  const record = path.join(site, "node_modules/.package-lock.json");
  if (!existsSync(record)) return false;
  const packagesOf = (file) => JSON.parse(readFileSync(file, "utf8")).packages;
  const installed = packagesOf(record);
  return Object.entries(packagesOf(path.join(site, "package-lock.json"))).every(
    ([name, wanted]) =>
      name === "" || (wanted.optional && !installed[name]) || installed[name]?.version === wanted.version,
  );
}

await entry(async () => {
  if (!modulesInStep()) {
    say("installing what builds the site (npm ci in site/)");
    const [npm, ...args] = npmCommand();
    quietly(npm, [...args, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", site]);
  }
  const file = process.argv.includes("--shots") ? "shots.mjs" : "build.mjs";
  return passThrough(process.execPath, [path.join(site, file), ...process.argv.slice(2)]);
});
