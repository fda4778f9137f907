// SPDX-License-Identifier: Apache-2.0
// `baton run` and `baton tune` as processes that are told to stop, or that nobody listens to any more: they end by
// themselves, and what was trained is in the checkpoint.

import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ensureTypeScript } from "../../scripts/lib/ensure.mjs";
import { openCheckpoint } from "../../src/tune/checkpoint.js";
import { tinyPath } from "../chain/tiny-model.js";

let directory = "";
beforeAll(async () => {
  await ensureTypeScript();
  directory = mkdtempSync(join(tmpdir(), "baton-interrupts-"));
  writeFileSync(
    join(directory, "chain.json"),
    JSON.stringify({
      model: tinyPath,
      options: { threads: 1, cacheBytes: 16 << 20 },
      steps: [{ input: "question" }, { stage: "answer", opener: "Answer:", closers: ["<|endoftext|>"] }],
    }),
  );
  const document = { model: tinyPath, options: { threads: 1, cacheBytes: 16 << 20 } };
  const turn = { stage: "turn", maxTokens: 60, closers: ["<|endoftext|>"] };
  const rounds = Array.from({ length: 6 }, (_, i) => ({ ...turn, stage: `turn${i}` }));
  // a signal that comes late, from a test that was kept waiting itself, meets a run that still waits
  const steps = [
    { input: "question" },
    ...rounds,
    { input: "late", from: "never" },
    { ...turn, stage: "last" },
  ];
  writeFileSync(join(directory, "long.json"), JSON.stringify({ ...document, steps }));
  writeFileSync(
    join(directory, "never.mjs"),
    `export const never = (results, { signal }) => new Promise((_, reject) => {
      const timer = setTimeout(() => {}, 60_000);
      signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); });
    });`,
  );
  const record = { question: "How long does the harbour freeze?", answer: "eleven weeks" };
  writeFileSync(join(directory, "train.jsonl"), `${JSON.stringify(record)}\n`.repeat(20));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

type Child = ReturnType<typeof spawn>;

/** Runs the long chain; the signal comes with the first thing that is written, or at once. */
function run(
  signal: NodeJS.Signals,
  when: "at once" | "while it answers",
): Promise<{ code: number | null; said: string }> {
  const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
  const given = ["-i", "question=How long?", "--functions", "never.mjs"];
  const child = spawn(process.execPath, [main, "run", "long.json", ...given], {
    cwd: directory,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  child.stdout.once("data", () => when === "while it answers" && child.kill(signal));
  // Node takes the signal over within its first half second; before that it ends like any process.
  if (when === "at once") setTimeout(() => child.kill(signal), Math.random() * 400);
  child.stdout.resume();
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, said }));
  });
}

describe("baton run", () => {
  test.each(["SIGINT", "SIGTERM"] as const)("at %s while it answers: 130, and one word", async (signal) => {
    for (let turn = 0; turn < 3; turn++) {
      const { code, said } = await run(signal, "while it answers");
      expect({ code, said: said.trimEnd().split("\n").at(-1) }).toEqual({
        code: 130,
        said: "baton: interrupted",
      });
    }
  });

  test("at SIGINT at any moment: 130, or ended by the signal; never a crash", async () => {
    for (let turn = 0; turn < 8; turn++) {
      const { code, said } = await run("SIGINT", "at once");
      expect([130, null]).toContain(code);
      expect(said).not.toMatch(/\n\s+at |rror/);
    }
  });
});

/** `stop` is called with the first step that is shown; what the process said and how it ended. */
function tune(output: string, stop: (child: Child) => void): Promise<{ code: number | null; said: string }> {
  const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
  const call = ["tune", "chain.json", "-s", "answer", "-d", "train.jsonl", "-o", output];
  const settings = ["--epochs", "400", "--batch-size", "2", "--checkpoint-every", "100000"];
  const child = spawn(process.execPath, [main, ...call, ...settings, "--virtual-tokens", "4"], {
    cwd: directory,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  let stopped = false;
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    said += text;
    if (stopped || !/^step 1\//m.test(said)) return;
    stopped = true;
    stop(child);
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, said }));
  });
}

describe("baton tune", () => {
  test.each(["SIGINT", "SIGTERM"] as const)("at %s: a checkpoint, and the words to go on", async (signal) => {
    const { code, said } = await tune(signal, (child) => child.kill(signal));
    expect(code).toBe(130);
    expect(said).toContain(`${join(signal, "checkpoint.safetensors")}; --resume goes on from it`);
    expect(said.trimEnd().endsWith("baton: interrupted")).toBe(true);
    const file = await openCheckpoint(join(directory, signal, "checkpoint.safetensors"));
    expect(file?.step).toBeGreaterThanOrEqual(1);
    expect(readdirSync(join(directory, signal))).toEqual(["checkpoint.safetensors"]);
  });

  test("whose progress nobody reads any more: a checkpoint, and no crash", async () => {
    const { code } = await tune("deaf", (child) => child.stderr?.destroy());
    expect(code).toBe(130);
    const file = await openCheckpoint(join(directory, "deaf", "checkpoint.safetensors"));
    expect(file?.step).toBeGreaterThanOrEqual(1);
  });
});
