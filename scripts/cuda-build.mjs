// SPDX-License-Identifier: Apache-2.0
// Builds the CUDA library for every target without a GPU, holds it to what can be said before there is one, and puts it,
// stripped, into build/Release beside the addon: one exported symbol, no dependency but the C library's, a size and a glibc
// that can be published, and every kernel within native/cuda/budgets.json.
//
//   npm run cuda:build [-- --pinned] [-- --update]     --pinned: the pinned compiler, whatever else is installed;
//                                                      --update: what was measured becomes the budget
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { buildNative } from "./build-native.mjs";
import { cudaToolchain, pinnedFolder } from "./cuda-toolchain.mjs";
import { checkCublasLt } from "./lib/cublaslt-header.mjs";
import {
  kernelFaults,
  kernelName,
  measure,
  multiprocessors,
  parsePtx,
  parseResources,
} from "./lib/cuda-kernels.mjs";
import { glibcCeiling } from "./lib/packages.mjs";
import { entry, quietly, root, Stop, say } from "./lib/run.mjs";
import { glibcFloor } from "./prebuilds.mjs";

const mostBytes = 25 * 1024 * 1024;
const budgetFile = path.join(root, "native/cuda/budgets.json");
/** libgcc_s: the unwinder, which every Node brings. */
const allowedLibraries = /^(?:libc|libm|libdl|librt|libpthread|libgcc_s|ld-linux-x86-64)\.so\.\d+$/;
const targets = Object.keys(multiprocessors);

/** Stripped beside its name, then renamed: a process that has the old one open keeps it. */
function install(library) {
  const folder = path.join(root, "build/Release");
  mkdirSync(folder, { recursive: true });
  const target = path.join(folder, "libbaton_cuda.so");
  const part = `${target}.${process.pid}.part`;
  copyFileSync(library, part);
  quietly("strip", ["--strip-all", part]);
  renameSync(part, target);
  return target;
}

function libraryFaults(library) {
  const faults = [];
  const exported = quietly("nm", ["-D", "--defined-only", "--format=posix", library])
    .trim()
    .split("\n")
    .map((line) => line.split(" ")[0]);
  if (exported.join() !== "batonCudaApi")
    faults.push(`exports ${exported.join(", ")}, not batonCudaApi alone`);
  const needed = [...quietly("objdump", ["-p", library]).matchAll(/NEEDED\s+(\S+)/g)].map(
    (found) => found[1],
  );
  const strange = needed.filter((name) => !allowedLibraries.test(name));
  if (strange.length > 0) faults.push(`needs ${strange.join(", ")}`);
  const size = statSync(library).size;
  if (size > mostBytes) faults.push(`has ${size} bytes, more than ${mostBytes}`);
  const floor = glibcFloor(library);
  const [major, minor] = glibcCeiling;
  if (floor[0] > major || floor[1] > minor) {
    faults.push(`needs glibc ${floor.join(".")}, published binaries ${major}.${minor} at most`);
  }
  say(`${path.relative(root, library)}: ${(size / 1024).toFixed(0)} KB, needs glibc ${floor.join(".")}`);
  return faults.map((fault) => `${path.basename(library)} ${fault}`);
}

/** @returns {string[]} what the target has for every source, in files of this ending; others are of sources that are gone */
function outputs(work, target, end) {
  const folder = path.join(work, "CMakeFiles", `${target}.dir/native/cuda`);
  return readdirSync(path.join(root, "native/cuda"))
    .filter((source) => source.endsWith(".cu"))
    .map((source) => {
      const file = path.join(folder, source.replace(/\.cu$/, end));
      if (existsSync(file)) return readFileSync(file, "utf8");
      throw new Stop(`the build left no ${file}: is ${source} in CMakeLists.txt?`);
    });
}

/** @returns {Map<string, { compiled: object[], ptx: object }>} by the name of the kernel */
function kernelsOf(work) {
  const compiled = outputs(work, "baton_cuda", ".cu.o.messages").flatMap(parseResources);
  const ptx = new Map(outputs(work, "baton_cuda_ptx", ".ptx").flatMap((text) => [...parsePtx(text)]));
  const symbols = [...new Set([...compiled.map((one) => one.symbol), ...ptx.keys()])];
  const names = quietly("c++filt", symbols).trim().split("\n").map(kernelName);
  const kernels = new Map();
  for (const [index, symbol] of symbols.entries()) {
    const name = names[index];
    const resources = compiled.filter((one) => one.symbol === symbol);
    const assembly = ptx.get(symbol);
    if (resources.length === 0 || assembly === undefined) {
      throw new Stop(`${name} is in ${assembly ? "PTX" : "machine code"} only: delete ${work} and try again`);
    }
    if (kernels.has(name)) throw new Stop(`two kernels are called ${name}: give one of them another name`);
    kernels.set(name, { compiled: resources, ptx: assembly });
  }
  return new Map([...kernels].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function update(kernels, budgets, version) {
  const made = {};
  for (const [name, { compiled, ptx }] of kernels) {
    const old = budgets.kernels[name] ?? {};
    const threads = ptx.threads ?? old.threads;
    if (threads === undefined) {
      throw new Stop(
        `${name} has no __launch_bounds__: write its "threads" into ${path.relative(root, budgetFile)}`,
      );
    }
    const launch = { threads, dynamicShared: old.dynamicShared ?? 0 };
    made[name] = {
      ...measure(compiled, launch),
      ...(old.instructions && { instructions: old.instructions }),
    };
  }
  writeFileSync(budgetFile, `${JSON.stringify({ compiler: version, kernels: made }, null, 2)}\n`);
  say(`${path.relative(root, budgetFile)} has what was measured: look at its changes before you commit them`);
}

/** Numbers hold for one compiler; what must be so with any is compared with what this one made. */
function budgetFaults(kernels, budgets, sameCompiler) {
  const faults = [];
  for (const [name, kernel] of kernels) {
    const written = budgets.kernels[name];
    if (written === undefined) {
      faults.push(`${name} has no budget: --update writes it`);
      continue;
    }
    const budget = sameCompiler ? written : { ...written, ...measure(kernel.compiled, written) };
    faults.push(...kernelFaults(budget, kernel, targets).map((fault) => `${name} ${fault}`));
  }
  const gone = Object.keys(budgets.kernels).filter((name) => !kernels.has(name));
  return [...faults, ...gone.map((name) => `${name} has a budget and is not there`)];
}

await entry(async () => {
  const { values } = parseArgs({ options: { pinned: { type: "boolean" }, update: { type: "boolean" } } });
  const toolchain = await cudaToolchain({ pinned: values.pinned });
  say(`nvcc ${toolchain.version} in ${toolchain.folder}`);
  checkCublasLt(toolchain, path.dirname(pinnedFolder()));
  const { work } = await buildNative({ cuda: toolchain.folder });
  const library = install(path.join(work, "libbaton_cuda.so"));
  const kernels = kernelsOf(work);
  const read = () => JSON.parse(readFileSync(budgetFile, "utf8"));
  if (values.update) update(kernels, read(), toolchain.version);
  const budgets = read();
  const sameCompiler = toolchain.version === budgets.compiler;
  const faults = [...libraryFaults(library), ...budgetFaults(kernels, budgets, sameCompiler)];
  if (faults.length > 0) throw new Stop(`the CUDA library is not as it must be:\n  ${faults.join("\n  ")}`);
  const compared = sameCompiler
    ? "within their budgets"
    : `without spills; budgets are of nvcc ${budgets.compiler}`;
  say(`${kernels.size} kernels for ${targets.join(", ")}, ${compared}`);
});
