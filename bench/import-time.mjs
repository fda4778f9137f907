// SPDX-License-Identifier: Apache-2.0
// What `import "baton-lm"` costs a process that begins: fresh processes that import it, by turns with ones that do nothing.
//   node bench/import-time.mjs [FILE...]     other builds of dist/bundle/index.js beside this one's
import { spawnSync } from "node:child_process";
import { performance } from "node:perf_hooks";
import { fileURLToPath, pathToFileURL } from "node:url";

const rounds = 21;
const own = fileURLToPath(new URL("../dist/bundle/index.js", import.meta.url));

function milliseconds(args) {
  const begin = performance.now();
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${args.join(" ")} failed: ${stderr}`);
  return performance.now() - begin;
}

const importOf = (file) => [
  "--input-type=module",
  "-e",
  `await import(${JSON.stringify(pathToFileURL(file).href)})`,
];
const kinds = [
  { name: "node -e 0", args: ["-e", "0"] },
  ...[own, ...process.argv.slice(2)].map((file) => ({ name: file, args: importOf(file) })),
].map((one) => ({ ...one, times: [] }));

for (const { args } of kinds) milliseconds(args); // so that every file was read before
for (let round = 0; round < rounds; round++)
  for (const { args, times } of kinds) times.push(milliseconds(args));

const median = (times) => times.toSorted((a, b) => a - b)[times.length >> 1];
const empty = median(kinds[0].times);
for (const { name, times } of kinds) {
  const span = `${Math.min(...times).toFixed(1)} to ${Math.max(...times).toFixed(1)}`;
  console.log(
    `${name}: ${median(times).toFixed(1)} ms (${span}), ${(median(times) - empty).toFixed(1)} more than nothing`,
  );
}
