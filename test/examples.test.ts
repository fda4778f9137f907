// SPDX-License-Identifier: Apache-2.0
// The examples as users start them: each a process of its own on the real model and the built package, with few tokens.

import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const folder = join(import.meta.dirname, "..", "examples");

/** Stages that an example must have run, and what else it must say. */
const examples: Record<string, RegExp[]> = {
  "compress-answer.mjs": [/^\[compress\] \S/m, /^\[answer\] \S/m],
  "critique-retrieve.mjs": [
    /^\[search\[0\]\.answer\] \S/m,
    /^\[search\[0\]\.critique\] \S/m,
    /^[123] rounds, stopped by (max|until); answer: \S/m,
  ],
  "recall-reason.mjs": [
    /^\[turns\[0\]\.reason\] \S/m,
    /^\[turns\[0\]\.lookup\.recall\] \S/m,
    /^\[turns\[1\]\.reason\] \S/m,
    /^[2-4] rounds, stopped by (max|until)$/m,
  ],
  "rewrite-retrieve-answer.mjs": [/^\[rewrite\] \S/m, /^\[answer\] \S/m],
};

test("every example is here", () => {
  const files = readdirSync(folder).filter(
    (file) => !["show.mjs", "library.mjs", "README.md"].includes(file),
  );
  expect(files.sort()).toEqual(Object.keys(examples));
});

/** Each under its trained prompts, and with texts in their place. */
const calls = Object.keys(examples).flatMap((file) => [[file, []] as const, [file, ["--untuned"]] as const]);

test.each(calls)(
  "%s %j",
  async (file, options) => {
    const run = promisify(execFile);
    const args = [join(folder, file), "--max-tokens", "8", ...options];
    const { stdout, stderr } = await run(process.execPath, args);
    expect(stderr).toBe(""); // no warning either: trained prompts are used as they were trained
    const says = examples[file] ?? [];
    for (const one of says) expect(stdout).toMatch(one);
    const [, computed, reused] =
      /^rows computed: (\d+), read from the cache instead: (\d+)$/m.exec(stdout) ?? [];
    expect(Number(computed)).toBeGreaterThan(20);
    expect(Number(reused)).toBeGreaterThan(10);
  },
  300_000,
);

test("an example on a model that is not there says so, without a trace of calls", async () => {
  const run = promisify(execFile);
  const failed = await run(process.execPath, [
    join(folder, "compress-answer.mjs"),
    "--model",
    "./nothing.gguf",
  ]).catch((error: { code: number; stderr: string }) => error);
  expect(failed).toMatchObject({ code: 1 });
  expect(failed.stderr).toMatch(/nothing\.gguf[\s\S]*\[[A-Z_]+\]$/m);
  expect(failed.stderr).not.toMatch(/^\s+at /m);
});
