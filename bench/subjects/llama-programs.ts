// SPDX-License-Identifier: Apache-2.0
// Running llama.cpp's own programs (rivals/setup.mjs compiles them), and the ways to set them up that are worth a try.
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import type { Way } from "../contract.js";
import { rivals } from "../runner/paths.js";

export type LlamaProgram = "llama-bench" | "llama-batched-bench" | "llama-perplexity" | "llama-forks";

/** Where setup.mjs puts rivals: capped like us where BATON_ISA caps us. */
export function rivalFolders(cap: string | undefined = process.env.BATON_ISA) {
  const build = path.join(rivals, "build");
  return cap && cap !== "amx"
    ? { programs: path.join(build, cap), modules: path.join(build, cap, "node_modules") }
    : { programs: build, modules: path.join(rivals, "node_modules") };
}

const llamaFolder = () => rivalFolders().programs;

/** Flash attention and formats of K and V. Quantised V needs flash attention. */
const allCacheWays: readonly Way[] = [
  { name: "flash attention on, K and V f16", args: ["-fa", "on"] },
  { name: "flash attention off, K and V f16", args: ["-fa", "off"] },
  { name: "flash attention on, K and V q8_0", args: ["-fa", "on", "-ctk", "q8_0", "-ctv", "q8_0"] },
];

/** A short run leaves quantised KV out, which computes something else. */
export const cacheWays = (quick = false): readonly Way[] => (quick ? allCacheWays.slice(0, 2) : allCacheWays);

/** Fewer threads than there are: what threads wait for each other may be more than they bring. */
export function threadWays(threads: number): Way[] {
  const half = Math.floor(threads / 2);
  if (half < 1) return [];
  return allCacheWays
    .filter(({ name }) => name.endsWith("on, K and V f16"))
    .map(({ name, args }) => ({ name: `${name}, ${half} threads`, args: [...args, "-t", String(half)] }));
}

/** Which variant of ggml's CPU library llama-bench took, which says so with -v; its neighbours take the same. */
export function variantOf({ stdout, stderr }: Ended): string {
  const said = /loaded CPU backend from .*?(libggml-cpu-\w+)\.so/.exec(stderr + stdout)?.[1];
  return said ?? "unknown variant";
}

export const describeArgs = ["-p", "1", "-n", "0", "-r", "1", "--no-warmup", "-v"] as const;

/** The same of a program that does not say. */
export async function describeVariant(model: string): Promise<string> {
  return variantOf(await runLlama("llama-bench", ["-m", model, ...describeArgs]));
}

/** Peak resident bytes so far of a process that still runs, or 0. */
function peakBytes(child: ChildProcess): number {
  try {
    const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0; // it has ended
  }
}

export interface Ended {
  stdout: string;
  stderr: string;
  /** Peak resident bytes. */
  peak: number;
}

/** The peak is read every 20 ms while it runs: what is allocated in the last 20 ms would be missed. */
export async function runLlama(program: LlamaProgram, args: readonly string[]): Promise<Ended> {
  const child = spawn(path.join(llamaFolder(), program), args, { stdio: ["ignore", "pipe", "pipe"] });
  const ended: Ended = { stdout: "", stderr: "", peak: 0 };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    ended.stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    ended.stderr += text;
  });
  const watch = setInterval(() => {
    ended.peak = Math.max(ended.peak, peakBytes(child));
  }, 20);
  try {
    const code = await new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (status, signal) => resolve(signal ?? status));
    });
    if (code !== 0) throw new Error(`${program} ended with ${code}: ${ended.stderr.slice(-1000)}`);
    return ended;
  } finally {
    clearInterval(watch);
  }
}
