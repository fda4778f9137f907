// SPDX-License-Identifier: Apache-2.0
// Makes prebuilds/<platform>-<arch>/ with prebuildify, which calls CMake through cmake-as-node-gyp.mjs: no headers are
// downloaded. Every shared library beside baton.node rides along.
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { ensureModules } from "./lib/ensure.mjs";
import { entry, quietly, root, Stop, say } from "./lib/run.mjs";

const platformFolder = `${process.platform}-${process.arch}`;

/** @returns {string} the folder with the binary */
export function makePrebuilds() {
  const folder = path.join(root, "prebuilds", platformFolder);
  const staging = path.join(root, "build-cmake/prebuildify");
  for (const old of [folder, staging]) rmSync(old, { recursive: true, force: true });
  mkdirSync(staging, { recursive: true });
  const program = path.join(root, "node_modules/prebuildify/bin.js");
  const options = ["--napi", "--strip", "--tag-libc", "--name", "baton", "--cwd", staging, "--out", root];
  quietly(process.execPath, [program, ...options], {
    env: { ...process.env, PREBUILD_NODE_GYP: path.join(root, "scripts/cmake-as-node-gyp.mjs") },
  });
  return folder;
}

/** @returns {[number, number]} highest glibc version that the binary asks for, e.g. [2, 34] */
export function glibcFloor(file) {
  const table = quietly("objdump", ["-T", file]);
  const versions = [...table.matchAll(/GLIBC_(\d+)\.(\d+)/g)].map(([, major, minor]) => [
    Number(major),
    Number(minor),
  ]);
  versions.sort(([a, b], [c, d]) => a - c || b - d);
  const highest = versions.at(-1);
  if (!highest) throw new Stop(`${file} asks for no version of glibc: it is no binary for glibc`);
  return highest;
}

if (process.argv[1]?.endsWith("prebuilds.mjs")) {
  await entry(async () => {
    await ensureModules();
    const folder = makePrebuilds();
    const files = readdirSync(folder);
    if (!files.some((file) => file.endsWith(".node")))
      throw new Stop(`prebuildify left no binary in ${folder}`);
    for (const file of files) {
      const floor =
        process.platform === "linux" ? `, needs glibc ${glibcFloor(path.join(folder, file)).join(".")}` : "";
      say(`${path.relative(root, path.join(folder, file))}${floor}`);
    }
  });
}
