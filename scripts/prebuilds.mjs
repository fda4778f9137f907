// SPDX-License-Identifier: Apache-2.0
// Makes prebuilds/<platform>-<arch>/: the binary for this platform with prebuildify, which calls CMake through
// cmake-as-node-gyp.mjs (no headers are downloaded), on Linux x64 linked for an old glibc; with --cross the binaries for
// the other platforms, too, by zig. Every shared library beside baton.node rides along.
//
//   prebuilds.mjs [--cross] [--only TAG]...
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { workFolder } from "./build-native.mjs";
import { ensureModules } from "./lib/ensure.mjs";
import { hostPlatform, platforms } from "./lib/platforms.mjs";
import { entry, quietly, root, Stop, say } from "./lib/run.mjs";
import { buildForeign, linkForOldGlibc } from "./lib/zig.mjs";

/** @param {import("./lib/platforms.mjs").Platform} platform */
export const prebuilt = (platform) => path.join(root, "prebuilds", platform.folder, platform.file);

function replace(file, make) {
  mkdirSync(path.dirname(file), { recursive: true });
  const part = `${file}.${process.pid}.part`;
  try {
    make(part);
    renameSync(part, file);
  } finally {
    rmSync(part, { force: true });
  }
}

/** The binary of prebuildify asks for the glibc of this machine; where zig cannot be had it stays, and that is said. */
function lowerGlibc(file) {
  if (process.platform !== "linux" || process.arch !== "x64") return;
  if (!existsSync(path.join(workFolder(), "libbaton_core.a")) || process.env.CXX) return;
  try {
    replace(file, (part) => linkForOldGlibc(workFolder(), part));
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    say(`${path.basename(file)} stays as this machine's compiler links it: ${error.message}`);
  }
}

/** @returns {string} the folder with the binary for the platform that this runs on */
export function makePrebuilds() {
  const folder = path.join(root, "prebuilds", `${process.platform}-${process.arch}`);
  const staging = path.join(root, "build-cmake/prebuildify");
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(staging, { recursive: true });
  const program = path.join(root, "node_modules/prebuildify/bin.js");
  const libc = process.platform === "linux" ? ["--tag-libc"] : [];
  const options = ["--napi", "--strip", ...libc, "--name", "baton", "--cwd", staging, "--out", root];
  quietly(process.execPath, [program, ...options], {
    env: { ...process.env, PREBUILD_NODE_GYP: path.join(root, "scripts/cmake-as-node-gyp.mjs") },
  });
  const host = hostPlatform();
  if (host) lowerGlibc(prebuilt(host));
  return folder;
}

/**
 * The binaries that are not for this machine.
 * @param {string[]} only tags; none: all
 */
export function makeForeignPrebuilds(only = []) {
  for (const platform of platforms) {
    if (!platform.cross || platform === hostPlatform()) continue;
    if (only.length > 0 && !only.includes(platform.tag)) continue;
    const addon = buildForeign(platform);
    replace(prebuilt(platform), (part) => copyFileSync(addon, part));
  }
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
    const options = { cross: { type: "boolean" }, only: { type: "string", multiple: true } };
    const { values } = parseArgs({ options });
    await ensureModules();
    if (!values.only || values.only.includes(hostPlatform()?.tag)) makePrebuilds();
    if (values.cross || values.only) makeForeignPrebuilds(values.only);
    for (const file of readdirSync(path.join(root, "prebuilds"), { recursive: true })) {
      if (file.endsWith(".node")) say(`prebuilds/${file}`);
    }
  });
}
