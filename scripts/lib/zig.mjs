// SPDX-License-Identifier: Apache-2.0
// Binaries that this machine's own compiler cannot make: addons for other machines, compiled by zig, and the addon for this
// one linked anew for an older glibc. For the second the objects stay those of g++, so that no kernel changes.
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { debianRust, zig, zigEnvironment } from "./cross-tools.mjs";
import { glibcFloorWanted } from "./platforms.mjs";
import { quietly, root, Stop, say } from "./run.mjs";
import { findCargo, requireBuildTool, requireCMake } from "./tools.mjs";

const constrain = path.join(root, "native/engine/constrain/llguidance");

/** CMake wants programs without arguments. */
function wrappers(folder, target) {
  mkdirSync(folder, { recursive: true });
  const settings = Object.entries(zigEnvironment()).map(([name, value]) => `export ${name}="${value}"\n`);
  const write = (name, args) => {
    const file = path.join(folder, name);
    const text = `#!/bin/sh\n${settings.join("")}exec "${zig()}" ${args} "$@"\n`;
    if (existsSync(file) && statSync(file).size === text.length) return file;
    writeFileSync(file, text);
    chmodSync(file, 0o755);
    return file;
  };
  return {
    compiler: write("zig-clang++", `c++ -target ${target} -fomit-frame-pointer`),
    archiver: write("zig-ar", "ar"),
    indexer: write("zig-ranlib", "ranlib"),
  };
}

/** llguidance for another machine by Debian's Rust, or undefined, and said why. */
function grammarsFor({ tag, cross }) {
  const without = (why) => say(`${tag}: without grammars (${why})`);
  if (!cross.rust) return without("Debian has no standard library of Rust for it");
  const cargo = findCargo();
  if (!cargo) return without("there is no cargo");
  try {
    const { rustc, libraries } = debianRust(cross.debian);
    const folder = path.join(root, "build-cmake/cargo-cross");
    const args = [
      "build",
      "--release",
      "--locked",
      "--quiet",
      "--target",
      cross.rust,
      "--target-dir",
      folder,
    ];
    // The crate wants to be a shared library, too, which nobody uses and no linker here could make.
    const linker = `CARGO_TARGET_${cross.rust.toUpperCase().replaceAll("-", "_")}_LINKER`;
    const env = { ...process.env, RUSTC: rustc, LD_LIBRARY_PATH: libraries, [linker]: "true" };
    quietly(cargo, args, { cwd: constrain, env });
    return path.join(folder, cross.rust, "release/libbaton_llguidance.a");
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    return without(error.message);
  }
}

/**
 * @param {import("./platforms.mjs").Platform} platform one with `cross`
 * @returns {string} its addon, stripped
 */
export function buildForeign(platform) {
  const { tag, cross } = platform;
  const begin = Date.now();
  const work = path.join(root, "build-cmake", `cross-${tag}`);
  const { compiler, archiver, indexer } = wrappers(path.join(work, "tools"), cross.target);
  const grammars = grammarsFor(platform);
  const cmake = requireCMake();
  const options = {
    CMAKE_BUILD_TYPE: "Release",
    CMAKE_SYSTEM_NAME: cross.system,
    CMAKE_SYSTEM_PROCESSOR: cross.processor,
    CMAKE_CXX_COMPILER: compiler,
    CMAKE_AR: archiver,
    CMAKE_RANLIB: indexer,
    CMAKE_MODULE_LINKER_FLAGS: "-s",
    NODE_EXECUTABLE: process.execPath,
    BATON_ZIG: "ON",
    BATON_TESTS: "OFF",
    BATON_GRAMMARS: grammars ? "ON" : "OFF",
    BATON_LLGUIDANCE_ARCHIVE: grammars ?? "",
  };
  const list = Object.entries(options).map(([name, value]) => `-D${name}=${value}`);
  const generator = existsSync(path.join(work, "CMakeCache.txt")) ? [] : ["-G", requireBuildTool()];
  say(`${tag}: building with zig in ${path.relative(root, work)} (the first time takes minutes)`);
  quietly(cmake, ["-S", root, "-B", work, ...generator, ...list]);
  quietly(cmake, ["--build", work, "--parallel", String(os.availableParallelism()), "--target", "baton"]);
  say(`${tag}: built in ${((Date.now() - begin) / 1000).toFixed(0)} s`);
  return path.join(work, "baton.node");
}

function objectsBelow(folder) {
  return readdirSync(folder, { recursive: true })
    .filter((file) => file.endsWith(".o"))
    .map((file) => path.join(folder, file));
}

const partOfCompiler = (name) => quietly("g++", [`-print-file-name=${name}`]).trim();

/**
 * The addon from the same objects, linked by zig with the symbols of an old glibc in place of this machine's.
 * @param {string} work folder of a build by g++
 * @param {string} target file
 */
export function linkForOldGlibc(work, target) {
  const shim = path.join(work, "old-glibc.o");
  // libstdc++ asks glibc 2.32 and newer whether there is a single thread; before, there may always be more.
  const source = '__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;\n';
  quietly("g++", ["-x", "c", "-c", "-fPIC", "-o", shim, "-"], { input: source, stdio: "pipe" });
  const hasGrammars = /^BATON_WITHOUT_GRAMMARS:INTERNAL=$/m.test(
    readFileSync(path.join(work, "CMakeCache.txt"), "utf8"),
  );
  const grammars = path.join(root, "build-cmake/cargo/release/libbaton_llguidance.a");
  const archives = [path.join(work, "libbaton_core.a"), ...(hasGrammars ? [grammars] : [])];
  // libgcc stays shared: Node brings it, and one unwinder serves both.
  const ours = [...archives, shim, partOfCompiler("libstdc++.a"), partOfCompiler("libgcc_s.so.1")];
  const exported = `-Wl,--version-script=${path.join(root, "native/binding/exports.map")}`;
  const flags = ["-Wl,--gc-sections", "-Wl,-z,now", "-Wl,-z,noexecstack", "-Wl,-z,nodelete", exported, "-s"];
  const system = `x86_64-linux-gnu.${glibcFloorWanted.join(".")}`;
  const args = ["cc", "-target", system, "-O3", "-shared", "-o", target];
  const objects = objectsBelow(path.join(work, "CMakeFiles/baton.dir"));
  const env = { ...process.env, ...zigEnvironment() };
  quietly(zig(), [...args, ...objects, ...ours, "-ldl", "-lpthread", "-lm", ...flags], { env });
}
