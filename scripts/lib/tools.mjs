// SPDX-License-Identifier: Apache-2.0
// What must be on the machine before anything is built: each missing thing is one sentence with its remedy.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { Stop } from "./run.mjs";

const nodeFloor = [20, 19];
const cmakeFloor = [3, 18];

/** First output line of `command --version`, or undefined when it cannot be started. */
export function versionLine(command) {
  const done = spawnSync(command, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  return done.error || done.status !== 0 ? undefined : (done.stdout.split("\n")[0] ?? "");
}

function older(text, floor) {
  const [major = 0, minor = 0] = (text.match(/(\d+)\.(\d+)/) ?? []).slice(1).map(Number);
  return major < floor[0] || (major === floor[0] && minor < floor[1]);
}

export function requireNode() {
  if (!older(process.versions.node, nodeFloor)) return;
  throw new Stop(
    `Node ${process.versions.node} is too old: install Node ${nodeFloor.join(".")} or newer (node --version shows yours).`,
  );
}

function remedy(packages) {
  if (process.platform === "darwin")
    return "install the Xcode command line tools and `brew install cmake ninja`";
  return `on Debian or Ubuntu run \`apt-get install ${packages}\``;
}

/** @returns {string} the CMake to call */
export function requireCMake() {
  const cmake = process.env.CMAKE || "cmake";
  const found = versionLine(cmake);
  if (found === undefined) throw new Stop(`CMake is missing: ${remedy("cmake")} (or set CMAKE to its path).`);
  if (older(found, cmakeFloor)) {
    throw new Stop(`${found} is too old, ${cmakeFloor.join(".")} is needed: ${remedy("cmake")}.`);
  }
  return cmake;
}

/** @returns {string | undefined} the compiler named by CXX, else undefined: CMake finds c++ by itself */
export function requireCompiler() {
  const named = process.env.CXX?.trim().split(/\s+/)[0];
  if (named) {
    if (versionLine(named) !== undefined) return named;
    throw new Stop(
      `The C++ compiler ${named} (from CXX) does not start: correct CXX, or unset it to use g++ or clang++.`,
    );
  }
  if (["c++", "g++", "clang++"].some((name) => versionLine(name) !== undefined)) return undefined;
  throw new Stop(`A C++20 compiler is missing (g++ 12 or clang 15 or newer): ${remedy("g++")}.`);
}

/** @returns {string} CMake's name of the build tool found */
export function requireBuildTool() {
  if (versionLine("ninja") !== undefined) return "Ninja";
  if (versionLine("make") !== undefined) return "Unix Makefiles";
  throw new Stop(`Neither ninja nor make is there: ${remedy("ninja-build")}.`);
}

/** @returns {string | undefined} cargo, also where Rust's installer puts it without telling PATH */
export function findCargo() {
  const name = process.platform === "win32" ? "cargo.exe" : "cargo";
  const home = process.env.CARGO_HOME || path.join(os.homedir(), ".cargo");
  const folders = [...(process.env.PATH ?? "").split(path.delimiter).filter(Boolean), path.join(home, "bin")];
  return folders.map((folder) => path.join(folder, name)).find((file) => existsSync(file));
}
