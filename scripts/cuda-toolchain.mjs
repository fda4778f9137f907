#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Finds a CUDA compiler, or installs the pinned one from its Python packages into the user's cache, and prints its
// folder. Needs no GPU and no driver. Order: BATON_CUDA_TOOLKIT (then nothing else is tried), CUDA_HOME, CUDA_PATH, nvcc
// on PATH, /usr/local/cuda, the pinned packages. A folder in the cache is complete or not there.
//
//   cuda-toolchain.mjs [--pinned]     --pinned: the pinned packages, whatever else is installed
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, realpathSync, renameSync, rmSync, symlinkSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { entry, root, Stop, say, userCache, withLock } from "./lib/run.mjs";
import { versionLine } from "./lib/tools.mjs";

/** Oldest CUDA whose compiler knows every target. */
const oldest = 13;
const pins = path.join(root, "scripts/lib/cuda-toolchain.txt");

/**
 * @typedef {object} Toolchain
 * @property {string} folder has bin/nvcc, include, lib64
 * @property {string} version e.g. "13.0.88"
 */

const nvccOf = (folder) => path.join(folder, "bin/nvcc");

/** @returns {string | undefined} e.g. "13.0.88"; undefined where it does not start */
function versionOf(nvcc) {
  const done = spawnSync(nvcc, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  return done.error || done.status !== 0 ? undefined : /\bV(\d+\.\d+\.\d+)/.exec(done.stdout)?.[1];
}

/** @returns {Toolchain | string} or what is wrong with it, as a sentence's end */
function judge(folder) {
  const nvcc = nvccOf(folder);
  if (!existsSync(nvcc)) return "has no bin/nvcc";
  const version = versionOf(nvcc);
  if (version === undefined) return "has an nvcc that does not start";
  if (Number(version.split(".")[0]) < oldest) return `has nvcc ${version}, ${oldest}.0 or newer is needed`;
  return { folder, version };
}

function onPath(environment) {
  const found = (environment.PATH ?? "")
    .split(path.delimiter)
    .map((folder) => path.join(folder, "nvcc"))
    .find((file) => existsSync(file));
  return found && path.dirname(path.dirname(realpathSync(found)));
}

/** The toolchain that is installed, or undefined. Throws Stop where BATON_CUDA_TOOLKIT names none. */
export function installedToolchain(environment = process.env) {
  const asked = environment.BATON_CUDA_TOOLKIT;
  if (asked) {
    const found = judge(path.resolve(asked));
    if (typeof found !== "string") return found;
    throw new Stop(
      `BATON_CUDA_TOOLKIT is ${asked}, which ${found}: name a CUDA ${oldest} folder, or unset it to use the pinned one.`,
    );
  }
  const folders = [environment.CUDA_HOME, environment.CUDA_PATH, onPath(environment), "/usr/local/cuda"];
  for (const folder of new Set(folders.filter(Boolean))) {
    if (!existsSync(folder)) continue;
    const found = judge(folder);
    if (typeof found !== "string") return found;
    say(`${folder} ${found}: passed over`);
  }
  return undefined;
}

/** One folder per set of pins, so that a change of them never meets old files. */
export function pinnedFolder(environment = process.env) {
  const name = createHash("sha256").update(readFileSync(pins)).digest("hex").slice(0, 12);
  return path.join(userCache(environment), `cuda-toolchain-${name}`);
}

const inPackages = "nvidia/cu13";

function lastLines(text, count) {
  return text.trim().split("\n").slice(-count).join("\n");
}

function installInto(folder) {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Stop(
      `The pinned CUDA compiler is for Linux on x64, this is ${process.platform} on ${process.arch}: ` +
        `install CUDA ${oldest} and set CUDA_HOME.`,
    );
  }
  if (versionLine("python3") === undefined) {
    throw new Stop(
      `Neither CUDA ${oldest} nor Python 3 (with pip, to install its compiler) is here: install one.`,
    );
  }
  say(`installing the pinned CUDA compiler from its Python packages into ${folder} (105 MB, 271 MB on disk)`);
  const part = `${folder}.${process.pid}.part`;
  const options = [
    "--quiet",
    "--disable-pip-version-check",
    "--no-deps",
    "--no-compile",
    "--only-binary",
    ":all:",
  ];
  const args = ["-m", "pip", "install", ...options, "--require-hashes", "--target", part, "-r", pins];
  try {
    const done = spawnSync("python3", args, { encoding: "utf8", maxBuffer: 64 << 20 });
    if (done.error || done.status !== 0) {
      throw new Stop(
        `The CUDA compiler could not be installed from its Python packages (pip: exit ${done.status}). ` +
          `Without them install CUDA ${oldest} and set CUDA_HOME. pip said:\n${lastLines(done.stderr ?? "", 4)}`,
      );
    }
    // The compiler looks for its libraries in lib64, the packages bring them in lib.
    symlinkSync("lib", path.join(part, inPackages, "lib64"));
    const made = judge(path.join(part, inPackages));
    if (typeof made === "string")
      throw new Stop(`The CUDA compiler installed from its Python packages ${made}.`);
    renameSync(part, folder);
  } finally {
    rmSync(part, { recursive: true, force: true });
  }
}

/** @returns {Promise<Toolchain>} the pinned compiler, installed when it is not there */
export async function pinnedToolchain(environment = process.env) {
  const folder = pinnedFolder(environment);
  mkdirSync(path.dirname(folder), { recursive: true });
  await withLock(`${folder}.lock`, () => {
    if (!existsSync(folder)) installInto(folder);
  });
  const found = judge(path.join(folder, inPackages));
  if (typeof found !== "string") return found;
  throw new Stop(`${folder} ${found}: delete it and try again.`);
}

/** @returns {Promise<Toolchain>} */
export async function cudaToolchain({ pinned = false, environment = process.env } = {}) {
  return (pinned ? undefined : installedToolchain(environment)) ?? (await pinnedToolchain(environment));
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await entry(async () => {
    const { values } = parseArgs({ options: { pinned: { type: "boolean" } } });
    const { folder, version } = await cudaToolchain(values);
    say(`nvcc ${version}`);
    console.log(folder);
  });
}
