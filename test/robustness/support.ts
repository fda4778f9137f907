// SPDX-License-Identifier: Apache-2.0
// What the robustness tests share: the tiny model at the level of the seam, the pool's way back to empty, memory maps,
// and child processes for whatever could take the test runner down.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ensureTypeScript } from "../../scripts/lib/ensure.mjs";
import { EngineClient } from "../../src/native/engine-client.js";
import type { CacheStats, GenerateSpec, NativeModelOptions } from "../../src/native/types.js";
import { fixturePath } from "../helpers/fixtures.js";

export const tinyPath = fixturePath("tiny-llama/tiny-q8_0.gguf");
export const tinyVocab = 512;
export const tinyContext = 512;

export const tinyOptions: NativeModelOptions = {
  threads: 1,
  cacheBytes: 8 << 20,
  indexBytes: 2 << 20,
  kvType: "f16",
  activations: "int8",
  batchInvariant: true,
  maxBatchRows: 512,
  drafting: "off",
};

export function openTiny(options: Partial<NativeModelOptions> = {}): Promise<EngineClient> {
  return EngineClient.open(tinyPath, "tiny", { ...tinyOptions, ...options });
}

export const fresh = () => ({ kind: "input" as const, start: 0, reads: [] });

export const greedy = (maxTokens: number): GenerateSpec => ({
  sampler: { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 1 },
  closers: new Int32Array(),
  stops: [],
  maxTokens,
});

export const ids = (count: number, seed = 1): Int32Array =>
  Int32Array.from({ length: count }, (_, i) => (i * 37 + seed * 101) % tinyVocab);

/** What `promise` is rejected with. */
export async function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error("nothing failed");
    },
    (error: unknown) => error,
  );
}

/** Waits until `done` or about 5 s: the engine frees blocks on its own thread, just after a job's last event. */
export async function eventually(done: () => boolean): Promise<boolean> {
  for (let turn = 0; turn < 1000 && !done(); turn++) await new Promise((resolve) => setTimeout(resolve, 5));
  return done();
}

/** The pool's figures once it holds `blocks` blocks (0: and no segment), or what it stays at. */
export async function settled(stats: () => CacheStats, blocks = 0): Promise<CacheStats> {
  await eventually(() => stats().blocksUsed === blocks && (blocks > 0 || stats().segments === 0));
  return stats();
}

/** Mappings of this process whose file name contains `part`. */
export function mappings(part: string): number {
  return readFileSync("/proc/self/maps", "latin1")
    .split("\n")
    .filter((line) => line.includes(part)).length;
}

export interface ChildOptions {
  /** Flags of node. */
  flags?: readonly string[];
  /** e.g. "ulimit -v 1000000": run by the shell before node takes its place. */
  limits?: string;
  env?: Readonly<Record<string, string>>;
}

export interface ChildOutcome {
  code: number | null;
  /** What ended it; SIGKILL: it hung and was ended after 100 s. */
  signal: string | null;
  stdout: string;
  stderr: string;
}

let compiled: Promise<void> | null = null;

/** Runs a program of children/ to its end, on the package as compiled into dist/. */
export async function runChild(
  script: string,
  args: readonly string[] = [],
  { flags = [], limits, env = {} }: ChildOptions = {},
): Promise<ChildOutcome> {
  compiled ??= ensureTypeScript();
  await compiled;
  const path = fileURLToPath(new URL(`children/${script}`, import.meta.url));
  const node = [process.execPath, ...flags, path, ...args];
  const command = limits === undefined ? node : ["/bin/sh", "-c", `${limits} && exec "$@"`, "sh", ...node];
  const [program, ...rest] = command as [string, ...string[]];
  const child = spawn(program, rest, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 100_000,
    killSignal: "SIGKILL",
  });
  const out = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].setEncoding("utf8").on("data", (text: string) => {
      out[stream] += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, ...out }));
  });
}

/** Runs a child that must end by itself with 0 and returns the last line that it wrote, parsed. */
export async function reportOf(
  script: string,
  args: readonly string[] = [],
  options: ChildOptions = {},
): Promise<Record<string, unknown>> {
  const { code, signal, stdout, stderr } = await runChild(script, args, options);
  if (code !== 0)
    throw new Error(`${script} ${args.join(" ")} ended with ${code ?? signal}\n${stdout}\n${stderr}`);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "null");
}
