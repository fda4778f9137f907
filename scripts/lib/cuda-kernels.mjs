// SPDX-License-Identifier: Apache-2.0
// What the compiler says of every kernel, before there is a GPU to run it on: registers, shared memory and stack per
// target (from ptxas), threads and instructions (from PTX), and how many blocks a multiprocessor then holds. All of it is
// compared with native/cuda/budgets.json: a kernel may get better by itself, worse by a committed change only.

/** Of one multiprocessor, by compute capability; the test compares the arithmetic with CUDA's own cuda_occupancy.h. */
export const multiprocessors = {
  80: { threads: 2048, blocks: 32, shared: 164 * 1024 },
  86: { threads: 1536, blocks: 16, shared: 100 * 1024 },
  89: { threads: 1536, blocks: 24, shared: 100 * 1024 },
  90: { threads: 2048, blocks: 32, shared: 228 * 1024 },
  100: { threads: 2048, blocks: 32, shared: 228 * 1024 },
  120: { threads: 1536, blocks: 24, shared: 100 * 1024 },
};
const registerFile = 65536;
/** The system's own part of a block's shared memory. */
const reservedShared = 1024;
const partitions = 4;

const upTo = (value, step) => Math.ceil(value / step) * step;

/**
 * Blocks that a multiprocessor holds at once.
 * @param {keyof multiprocessors} capability
 * @param {{ threads: number, registers: number, shared: number }} block registers per thread, bytes per block
 */
export function blocksPerMultiprocessor(capability, { threads, registers, shared }) {
  const limits = multiprocessors[capability];
  const bytes = upTo(shared + reservedShared, 128);
  if (threads > 1024 || bytes > limits.shared || registers > 255) return 0;
  const warps = Math.ceil(threads / 32);
  const warpsByRegisters =
    partitions * Math.floor(registerFile / partitions / upTo(Math.max(registers, 1) * 32, 256));
  return Math.min(
    limits.blocks,
    Math.floor(limits.threads / 32 / warps),
    Math.floor(warpsByRegisters / warps),
    Math.floor(limits.shared / bytes),
  );
}

/**
 * @typedef {object} Compiled one kernel for one target
 * @property {string} symbol
 * @property {number} target compute capability
 * @property {number} registers
 * @property {number} shared static bytes
 * @property {number} stack bytes
 * @property {number} spills bytes stored and loaded
 */

const number = (pattern, text) => Number(pattern.exec(text)?.[1] ?? 0);

/**
 * @param {string} messages what `ptxas -v` printed, of any number of kernels
 * @returns {Compiled[]}
 */
export function parseResources(messages) {
  const [, ...parts] = messages.split(/^ptxas info\s*: Compiling entry function /m);
  return parts.map((text) => {
    const [, symbol, target] = /^'([^']+)' for 'sm_(\d+)[a-z]?'/.exec(text) ?? [];
    const registers = /Used (\d+) registers/.exec(text)?.[1];
    if (symbol === undefined || registers === undefined) {
      throw new Error(
        `ptxas describes a kernel in words that this script does not know: ${text.slice(0, 300)}`,
      );
    }
    return {
      symbol,
      target: Number(target),
      registers: Number(registers),
      shared: number(/(\d+) bytes smem/, text),
      stack: number(/(\d+) bytes stack frame/, text),
      spills: number(/(\d+) bytes spill stores/, text) + number(/(\d+) bytes spill loads/, text),
    };
  });
}

/**
 * @param {string} ptx a module
 * @returns {Map<string, { threads: number | undefined, instructions: Map<string, number> }>} by symbol; threads: of
 *   `__launch_bounds__`
 */
export function parsePtx(ptx) {
  const kernels = new Map();
  for (const [, symbol, head, body] of ptx.matchAll(/\.entry\s+([\w$]+)\s*\(([^{]*)\{([\s\S]*?)^\}/gm)) {
    const threads = /\.(?:maxntid|reqntid)\s+(\d+)(?:\s*,\s*(\d+))?(?:\s*,\s*(\d+))?/.exec(head);
    const instructions = new Map();
    for (const [, name] of body.matchAll(/^\s*(?:@!?%\w+\s+)?([a-z][\w.]*(?:::\w[\w.]*)*)\s[^;]*;/gm)) {
      instructions.set(name, (instructions.get(name) ?? 0) + 1);
    }
    kernels.set(symbol, {
      threads: threads ? threads.slice(1).reduce((all, one) => all * Number(one ?? 1), 1) : undefined,
      instructions,
    });
  }
  return kernels;
}

/** Instructions of the kernel whose name is `wanted` or begins with it and a dot. */
export function countOf(instructions, wanted) {
  let count = 0;
  for (const [name, times] of instructions)
    if (name === wanted || name.startsWith(`${wanted}.`)) count += times;
  return count;
}

/** "void baton::cuda::(anonymous namespace)::norm<true>(Args, int)" -> "norm<true>" */
export function kernelName(demangled) {
  let text = demangled
    .replaceAll("(anonymous namespace)::", "")
    .replaceAll("baton::cuda::", "")
    .replaceAll("baton::", "");
  const open = /(?<!operator)\((?!\w+\)\d)/.exec(text);
  if (open) text = text.slice(0, open.index);
  return text
    .replace(/^[\w:<>, ]* (?=[\w:]+(?:<|$))/, "")
    .replace(/\((?:bool|int|unsigned int|short)\)/g, "");
}

/**
 * @typedef {object} Budget of one kernel; bytes, and what is said by target is said for each of them
 * @property {number} threads most of a block
 * @property {number} dynamicShared most that a launch asks for
 * @property {number} registers of every target at most
 * @property {number} shared static
 * @property {number} stack
 * @property {Record<string, number>} blocks of a multiprocessor at least, by target
 * @property {string[]} [instructions] that its PTX has
 */

const dear = ["registers", "shared", "stack"];

/** @returns {Record<string, number>} by target */
function occupancy(compiled, { threads, dynamicShared }) {
  return Object.fromEntries(
    compiled.map(({ target, registers, shared }) => [
      target,
      blocksPerMultiprocessor(target, { threads, registers, shared: shared + dynamicShared }),
    ]),
  );
}

/**
 * What the compiler made of a kernel, in the form of its budget.
 * @param {Compiled[]} compiled of all targets
 * @param {Pick<Budget, "threads" | "dynamicShared">} launch
 */
export function measure(compiled, { threads, dynamicShared }) {
  const launch = { threads, dynamicShared };
  const most = Object.fromEntries(dear.map((what) => [what, Math.max(...compiled.map((one) => one[what]))]));
  return { ...launch, ...most, blocks: occupancy(compiled, launch) };
}

/**
 * @param {Budget} budget
 * @param {{ compiled: Compiled[], ptx: { threads: number | undefined, instructions: Map<string, number> } }} kernel
 * @param {readonly string[]} targets
 * @returns {string[]} what is worse than the budget, or against a rule
 */
export function kernelFaults(budget, { compiled, ptx }, targets) {
  const faults = [];
  const there = compiled.map((one) => String(one.target)).sort();
  if (there.join() !== [...targets].sort().join())
    faults.push(`is compiled for ${there.join(", ") || "nothing"}`);
  for (const one of compiled) {
    for (const what of dear) {
      if (one[what] > budget[what])
        faults.push(`sm_${one.target}: ${what} ${one[what]}, budget ${budget[what]}`);
    }
    if (one.spills > 0) faults.push(`sm_${one.target}: ${one.spills} bytes of spills`);
  }
  if (ptx.threads !== undefined && ptx.threads !== budget.threads) {
    faults.push(`has launch bounds of ${ptx.threads} threads, the budget says ${budget.threads}`);
  }
  for (const [target, blocks] of Object.entries(occupancy(compiled, budget))) {
    const planned = budget.blocks[target] ?? 1;
    if (blocks < planned)
      faults.push(`sm_${target}: ${blocks} blocks on a multiprocessor, planned ${planned}`);
  }
  for (const wanted of budget.instructions ?? []) {
    if (countOf(ptx.instructions, wanted) === 0) faults.push(`its PTX has no ${wanted}`);
  }
  for (const bad of ["ld.local", "st.local"]) {
    if (countOf(ptx.instructions, bad) > 0)
      faults.push(`its PTX has ${bad}: an array that is not in registers`);
  }
  return faults;
}
