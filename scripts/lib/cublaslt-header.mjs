// SPDX-License-Identifier: Apache-2.0
// Compares our declarations of cuBLASLt (native/cuda/cublaslt.h) with NVIDIA's header: that of an installed CUDA, or of
// the pinned Python package, of whose 540 MB two headers are loaded.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import { root, Stop, say } from "./run.mjs";

const requirement = "nvidia-cublas==13.0.2.14";
const inPackage = "nvidia/cu13/include";
const headers = {
  "cublasLt.h": "a47b6a56a30e756043d1dd999fd5ef305ce25a4c9f398a61622af40403e43be8",
  "cublas_api.h": "ff39aab679599c2076caf97e2751bff2187554824fdba387c2aebe104cd29d25",
};

/** @returns {string | undefined} a folder that has them; undefined, and said why, where they cannot be had */
function headerFolder(toolchain, cache) {
  const installed = path.join(toolchain.folder, "include");
  if (existsSync(path.join(installed, "cublasLt.h"))) return installed;
  const folder = path.join(cache, requirement.replace("==", "-"));
  if (existsSync(folder)) return folder;
  const part = `${folder}.${process.pid}.part`;
  mkdirSync(part, { recursive: true });
  const members = Object.entries(headers).map(([name, digest]) => `${inPackage}/${name}=${digest}`);
  const script = path.join(root, "scripts/lib/wheel-members.py");
  const done = spawnSync("python3", [script, requirement, part, ...members], { encoding: "utf8" });
  if (done.error || done.status !== 0) {
    rmSync(part, { recursive: true, force: true });
    const why = done.error?.message ?? done.stderr.trim();
    say(`left out: declarations of cuBLASLt against NVIDIA's header, which cannot be had (${why})`);
    return undefined;
  }
  rmSync(folder, { recursive: true, force: true });
  renameSync(part, folder);
  return folder;
}

/** Throws Stop where a declaration differs. */
export function checkCublasLt(toolchain, cache) {
  const folder = headerFolder(toolchain, cache);
  if (folder === undefined) return;
  const source = path.join(root, "test/native/cuda/cublaslt_header.h");
  const includes = [folder, path.join(toolchain.folder, "include")].flatMap((one) => ["-isystem", one]);
  const args = [
    "-std=c++20",
    "-fsyntax-only",
    "-Wall",
    "-Wextra",
    "-Werror",
    `-I${path.join(root, "native")}`,
  ];
  const done = spawnSync(process.env.CXX || "c++", [...args, ...includes, source], { encoding: "utf8" });
  if (done.error) throw new Stop(`declarations of cuBLASLt could not be compared: ${done.error.message}`);
  if (done.status !== 0) {
    throw new Stop(`native/cuda/cublaslt.h differs from NVIDIA's header:\n${done.stderr.trim()}`);
  }
  say("declarations of cuBLASLt are those of NVIDIA's header");
}
