#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Builds the native part with CMake and puts baton.node into build/Release. Incremental; needs CMake, a C++20
// compiler and ninja or make, and downloads nothing. Works in the checkout and in the published package.
//
//   build-native.mjs [--config Release|Debug] [--out DIR] [--tests] [--bench] [--sanitize LIST] [--werror] [--cxx COMPILER]
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { entry, root, Stop, say, withLock } from "./lib/run.mjs";
import { findCargo, requireBuildTool, requireCMake, requireCompiler, requireNode } from "./lib/tools.mjs";

/**
 * @typedef {object} NativeBuild
 * @property {string} [config] CMake build type
 * @property {boolean} [tests] also the unit tests
 * @property {boolean} [bench] the speed of single kernels, and nothing else
 * @property {boolean} [fuzz] the program that fuzzes readers of files, and nothing else
 * @property {boolean} [emulated] the unit tests with emulated AVX-512, and nothing else
 * @property {string} [cuda] folder of a CUDA toolchain: the CUDA library and its PTX, and nothing else
 * @property {string} [sanitize] sanitizers, comma-separated
 * @property {boolean} [addon] the addon with them too; it stays in the work folder
 * @property {boolean} [werror]
 * @property {string} [cxx] compiler; default: CXX, else what CMake finds
 */

/** One work folder per platform, compiler and kind of build. build/ itself belongs to node-gyp. */
export function workFolder({ config = "Release", sanitize, werror, cxx, cuda } = {}) {
  const compiler = cxx ?? process.env.CXX?.trim();
  const parts = [process.platform, process.arch, config.toLowerCase()];
  if (compiler) parts.push(path.basename(compiler.split(/\s+/)[0]).replaceAll("+", "x").replace(/\W/g, "-"));
  if (sanitize) parts.push(sanitize.replace(/\W/g, "-"));
  if (werror) parts.push("werror");
  if (cuda) parts.push("cuda");
  return path.join(root, "build-cmake", parts.join("-"));
}

const keepMessages = path.join(root, "scripts/lib/keep-messages.mjs");

function cmakeArguments(build) {
  const { config = "Release", sanitize, werror = false, cxx, cuda } = build;
  const compiler = cxx ?? process.env.CXX?.trim();
  const list = [`-DCMAKE_BUILD_TYPE=${config}`, `-DNODE_EXECUTABLE=${process.execPath}`];
  // The same for every caller in the checkout, so that demo and tests share one configuration; packages have no tests.
  list.push(`-DBATON_TESTS=${existsSync(path.join(root, "test/native/main.cpp")) ? "ON" : "OFF"}`);
  if (compiler) list.push(`-DCMAKE_CXX_COMPILER=${compiler}`);
  if (sanitize) {
    list.push(`-DBATON_SANITIZE=${sanitize}`, "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -g1");
    list.push(`-DBATON_ADDON=${build.addon ? "ON" : "OFF"}`);
  }
  if (werror) list.push("-DBATON_WERROR=ON");
  // One for all builds of the checkout; where one is found later, the build is configured anew.
  list.push(`-DBATON_CARGO_TARGET=${path.join(root, "build-cmake/cargo")}`);
  const cargo = findCargo();
  if (cargo) list.push(`-DBATON_CARGO=${cargo}`);
  if (cuda) {
    const launcher = [process.execPath, keepMessages, process.env.CMAKE_CUDA_COMPILER_LAUNCHER ?? ""];
    list.push("-DBATON_CUDA=ON", "-DBATON_ADDON=OFF", `-DCMAKE_CUDA_COMPILER=${path.join(cuda, "bin/nvcc")}`);
    list.push(`-DCMAKE_CUDA_COMPILER_LAUNCHER=${launcher.filter(Boolean).join(";")}`);
  }
  return [...list, ...(process.env.BATON_CMAKE_ARGS ?? "").split(/\s+/).filter(Boolean)];
}

/** Shows its output on failure only. */
function runCMake(cmake, args) {
  const done = spawnSync(cmake, args, { cwd: root, encoding: "utf8", maxBuffer: 256 << 20 });
  if (done.error) throw new Stop(`cannot start ${cmake}: ${done.error.message}`);
  if (done.status === 0) return done.stdout;
  process.stderr.write(done.stdout + done.stderr);
  throw new Stop(
    `the native build failed (${cmake} ${args.slice(0, 2).join(" ")}); the compiler's messages are above`,
  );
}

function configure(cmake, work, args) {
  const stamp = path.join(work, "baton-arguments.json");
  const wanted = JSON.stringify(args);
  const cache = path.join(work, "CMakeCache.txt");
  // What cargo could not do the last time it may do now: a download, above all.
  const grammars = () => /^BATON_WITHOUT_GRAMMARS:INTERNAL=(.+)$/m.exec(readFileSync(cache, "utf8"))?.[1];
  const configured = existsSync(cache) && existsSync(stamp) && readFileSync(stamp, "utf8") === wanted;
  if (configured && !grammars()?.includes("cannot build")) return;
  requireCompiler();
  const generator = existsSync(cache) ? [] : ["-G", requireBuildTool()];
  runCMake(cmake, ["-S", root, "-B", work, ...generator, ...args]);
  writeFileSync(stamp, wanted);
  const why = grammars();
  if (why) {
    say(`building without grammars (the option \`output\`): ${why}.
  To see it fail instead: BATON_CMAKE_ARGS=-DBATON_GRAMMARS=ON`);
  }
}

/** Renamed into place: a process that runs the old addon keeps its file. */
function install(file, folder) {
  const target = path.join(folder, path.basename(file));
  const from = statSync(file);
  if (existsSync(target)) {
    const there = statSync(target);
    if (there.size === from.size && there.mtimeMs >= from.mtimeMs) return target;
  }
  mkdirSync(folder, { recursive: true });
  const part = `${target}.${process.pid}.part`;
  copyFileSync(file, part);
  renameSync(part, target);
  return target;
}

/** None: everything. */
function targetsOf({ bench, emulated, fuzz, tests, cuda }) {
  if (fuzz) return ["baton_fuzz"];
  if (bench) return ["baton_ops_bench"];
  if (emulated) return ["baton_tests_emulated"];
  if (cuda) return ["baton_cuda", "baton_cuda_ptx", "baton_gpu_tests", "baton_gpu_bench"];
  return tests ? [] : ["baton"];
}

/**
 * @param {NativeBuild & { out?: string }} build
 * @returns {Promise<{ work: string, addon: string | undefined, tests: string | undefined, bench: string | undefined,
 *   fuzz: string | undefined }>}
 *   what was built
 */
export async function buildNative(build) {
  requireNode();
  const cmake = requireCMake();
  const work = workFolder(build);
  return withLock(`${work}.lock`, () => {
    const fresh = !existsSync(path.join(work, "CMakeCache.txt"));
    const begin = Date.now();
    if (fresh) {
      const what = build.cuda ? "CUDA library" : "native part";
      say(`building the ${what} with CMake in ${path.relative(root, work)} (the first time takes minutes)`);
    }
    configure(cmake, work, cmakeArguments(build));
    const jobs = String(os.availableParallelism());
    const targets = targetsOf(build);
    const options = [
      "--config",
      build.config ?? "Release",
      "--parallel",
      jobs,
      ...(targets.length > 0 ? ["--target", ...targets] : []),
    ];
    const output = runCMake(cmake, ["--build", work, ...options]);
    if (fresh || /Linking|Building/.test(output)) {
      say(`native build done in ${((Date.now() - begin) / 1000).toFixed(1)} s`);
    }
    const addon = path.join(work, "baton.node");
    const tests = path.join(work, build.emulated ? "baton_tests_emulated" : "baton_tests");
    const bench = path.join(work, "baton_ops_bench");
    const fuzz = path.join(work, "baton_fuzz");
    const out = build.out ?? path.join(root, "build", build.config ?? "Release");
    const wanted =
      !build.bench &&
      !build.fuzz &&
      !build.emulated &&
      !build.cuda &&
      existsSync(addon) &&
      !build.sanitize &&
      (!build.werror || build.out);
    return {
      work,
      addon: wanted ? install(addon, out) : build.addon && existsSync(addon) ? addon : undefined,
      tests: build.tests && existsSync(tests) ? tests : undefined,
      bench: build.bench && existsSync(bench) ? bench : undefined,
      fuzz: build.fuzz && existsSync(fuzz) ? fuzz : undefined,
    };
  });
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await entry(async () => {
    const { values } = parseArgs({
      options: {
        config: { type: "string" },
        out: { type: "string" },
        tests: { type: "boolean" },
        bench: { type: "boolean" },
        sanitize: { type: "string" },
        werror: { type: "boolean" },
        cxx: { type: "string" },
      },
    });
    const built = await buildNative(values.out ? { ...values, out: path.resolve(values.out) } : values);
    say(`built ${[built.addon, built.tests, built.bench].filter(Boolean).join(" and ") || built.work}`);
  });
}
