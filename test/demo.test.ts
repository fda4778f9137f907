// SPDX-License-Identifier: Apache-2.0
// The demo as `npm run demo` starts it, on the real model and the built package.

import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const demo = join(import.meta.dirname, "..", "demo", "demo.mjs");

const parts = (from: string, to: string) =>
  new RegExp(`^${from}.*:\n\ncompress +([\\s\\S]*?)\nanswer +([\\s\\S]*?)\n\n${to}`, "m");
const trainedPart = parts("With the trained prompts", "The same chain before training");
const untrainedPart = parts("The same chain before training", "Where everything");

test("trained specialists end their notes and answer in a few words; then the chain before training, and what sharing costs", async () => {
  const { stdout, stderr } = await run(process.execPath, [demo]);
  expect(stderr).toBe(""); // no warning: the prompts are used as they were trained
  const [, note = "", answer = ""] = trainedPart.exec(stdout) ?? [];
  const [, noteBefore = "", answerBefore = ""] = untrainedPart.exec(stdout) ?? [];
  expect(note).toMatch(/\S/);
  expect(answer).toMatch(/\S/);
  expect(note.length).toBeLessThan(noteBefore.length);
  expect(answer.length).toBeLessThan(answerBefore.length);
  expect(stdout).toMatch(/^shared +answer +\d+ +\d+ /m);
  expect(stdout).toMatch(/^recompute +answer +\d+ +\d+ /m);
}, 300_000);

test("--untuned leaves the trained ones out; a question may be given", async () => {
  const { stdout, stderr } = await run(process.execPath, [
    demo,
    "--untuned",
    "When was the lighthouse moved?",
  ]);
  expect(stderr).toBe("");
  expect(stdout).toContain("question  When was the lighthouse moved?");
  expect(stdout).not.toContain("With the trained prompts");
  expect(untrainedPart.exec(stdout)).not.toBeNull();
}, 300_000);

test("a model that is not there is one sentence", async () => {
  const failed = await run(process.execPath, [demo, "--model", "./nothing.gguf"]).catch(
    (error: { code: number; stderr: string }) => error,
  );
  expect(failed).toMatchObject({ code: 1 });
  expect(failed.stderr).toMatch(/^demo: [\s\S]*nothing\.gguf[\s\S]*\[[A-Z_]+\]$/m);
});
