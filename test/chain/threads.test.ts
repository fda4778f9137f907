// SPDX-License-Identifier: Apache-2.0
// The life of the process around a run: several worker threads, a thread that ends, a process that ends in the middle.
// A crash of the addon would show as a signal instead of an exit code. Uses the built package, as threads of a user do.

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { question, tinyPath } from "./tiny-model.js";

const index = new URL("../../dist/index.js", import.meta.url).href;

/** Loads the model, runs a chain, reports every stage's tokens; `mode` says how it ends. */
const program = `
import { parentPort } from "node:worker_threads";
const { loadModel, defineChain } = await import(${JSON.stringify(index)});
const model = await loadModel(${JSON.stringify(tinyPath)}, { threads: 1, batchInvariant: true, cacheBytes: 8 << 20 });
const chain = defineChain(model)
  .input("question")
  .stage("a", { prompt: { text: "Shorten." }, maxTokens: 200, closers: ["<|endoftext|>"] })
  .stage("b", { prompt: { text: "Answer." }, maxTokens: 200, closers: ["<|endoftext|>"] });
const say = (value) => (parentPort === null ? console.log(JSON.stringify(value)) : parentPort.postMessage(value));
const run = chain.run({ question: ${JSON.stringify(question)} });
let deltas = 0;
for await (const event of run) {
  if (event.type === "text-delta" && ++deltas === 1) MIDDLE;
}
const { a, b } = await run.result;
say([a.tokens, b.tokens]);
END;
`;

const source = (middle: string, end: string) => program.replace("MIDDLE", middle).replace("END", end);
const moduleUrl = (code: string) => new URL(`data:text/javascript,${encodeURIComponent(code)}`);

function startWorker(code: string): { worker: Worker; message: Promise<unknown>; exit: Promise<number> } {
  const worker = new Worker(moduleUrl(code));
  const message = new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  message.catch(() => {});
  return { worker, message, exit: new Promise((resolve) => worker.once("exit", resolve)) };
}

interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

function runProcess(
  code: string,
  onOutput: (kill: (signal: NodeJS.Signals) => void) => void = () => {},
): Promise<Ended> {
  const child = spawn(process.execPath, ["--input-type=module", "-e", code], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = { stdout: "", stderr: "" };
  child.stdout.on("data", (part) => {
    ended.stdout += part;
    onOutput((signal) => child.kill(signal));
  });
  child.stderr.on("data", (part) => {
    ended.stderr += part;
  });
  return new Promise((resolve) => {
    child.once("close", (exitCode, signal) => resolve({ code: exitCode, signal, ...ended }));
  });
}

describe("worker threads", () => {
  test("two at once give the same bits", async () => {
    const code = source("0", "await model.close()");
    const workers = [startWorker(code), startWorker(code)];
    const [first, second] = await Promise.all(workers.map((one) => one.message));
    expect(first).toEqual(second);
    expect(await Promise.all(workers.map((one) => one.exit))).toEqual([0, 0]);
  });

  test("terminated in the middle of a run, and left without close, over and over", async () => {
    for (let turn = 0; turn < 4; turn++) {
      const stopped = startWorker(source('say("middle")', "await model.close()"));
      const left = startWorker(source("0", "0"));
      expect(await stopped.message).toBe("middle");
      await stopped.worker.terminate();
      await left.message;
      await left.exit;
    }
    const { message } = startWorker(source("0", "await model.close()"));
    expect(await message).toHaveLength(2);
  });
});

describe("process", () => {
  test("ends by itself after the last run although the model was not closed", async () => {
    const ended = await runProcess(source("0", "0"));
    expect(ended).toMatchObject({ code: 0, signal: null, stderr: "" });
    expect(JSON.parse(ended.stdout)).toHaveLength(2);
  });

  test("process.exit in the middle of a run", async () => {
    expect(await runProcess(source("process.exit(7)", "0"))).toMatchObject({
      code: 7,
      signal: null,
      stderr: "",
    });
  });

  test("an uncaught error in the middle of a run", async () => {
    const ended = await runProcess(source('setImmediate(() => { throw new Error("elsewhere"); })', "0"));
    expect(ended).toMatchObject({ code: 1, signal: null });
    expect(ended.stderr).toContain("elsewhere");
  });
});

describe("the program", () => {
  const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
  const chainModule = `
    import { setTimeout } from "node:timers/promises";
    export default {
      model: ${JSON.stringify(tinyPath)},
      options: { threads: 1, cacheBytes: 8 << 20 },
      chain: (model, { defineChain }) => defineChain(model)
        .input("question")
        .stage("a", { maxTokens: 4, closers: ["<|endoftext|>"] })
        .input("late", { from: (_, { signal }) => setTimeout(60_000, "late", { signal }) })
        .stage("b"),
    };`;

  test("interrupted in the middle of a run: 130, and one word", async () => {
    const { mkdtempSync, rmSync, writeFileSync } = await import("node:fs");
    const { tmpdir } = await import("node:os");
    const { join } = await import("node:path");
    const folder = mkdtempSync(join(tmpdir(), "baton-interrupt-"));
    try {
      const file = join(folder, "chain.mjs");
      writeFileSync(file, chainModule);
      const args = [main, "run", file, "--input", `question=${question}`];
      const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
      let stderr = "";
      child.stderr.on("data", (part) => {
        stderr += part;
      });
      child.stdout.once("data", () => child.kill("SIGINT"));
      const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => {
        child.once("close", (...both) => resolve(both));
      });
      expect([code, signal]).toEqual([130, null]);
      expect(stderr).toMatch(/baton: interrupted\n$/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
