// SPDX-License-Identifier: Apache-2.0
// What `npm test` counts of the TypeScript tests: the reporter on a small project in which every kind of end occurs.

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect, it } from "vitest";
import { root } from "../../scripts/lib/run.mjs";

const samples = {
  "a.test.ts": `
    import { describe, expect, it } from "vitest";
    describe("group", () => {
      it("passes", () => expect(1).toBe(1));
      it("fails", () => expect(1).toBe(2));
      it("says why", (test) => test.skip("no such device"));
      it.skip("does not say why", () => {});
    });`,
  "broken.test.ts": 'import "./not-there.js";',
  "late.test.ts": `
    import { it } from "vitest";
    it("leaves a rejection behind", async () => {
      void Promise.reject(new Error("nobody caught this"));
      await new Promise((done) => setTimeout(done, 50));
    });`,
};

interface Line {
  name?: string;
  file?: string;
  status?: string;
  reason?: string;
  messages?: string[];
  done?: boolean;
}

function resultsOf(folder: string): Line[] {
  mkdirSync(path.join(folder, "test"));
  symlinkSync(path.join(root, "node_modules"), path.join(folder, "node_modules"));
  for (const [name, text] of Object.entries(samples)) writeFileSync(path.join(folder, "test", name), text);
  const results = path.join(folder, "results.jsonl");
  const reporter = path.join(root, "scripts/lib/vitest-reporter.mjs");
  const args = [
    path.join(root, "node_modules/vitest/vitest.mjs"),
    "run",
    "--root",
    folder,
    `--reporter=${reporter}`,
  ];
  const done = spawnSync(process.execPath, args, {
    cwd: folder,
    env: { ...process.env, BATON_TEST_RESULTS: results, VITEST: undefined },
    encoding: "utf8",
  });
  expect(done.status, done.stderr).toBe(1);
  const text = readFileSync(results, "utf8").trim();
  return text.split("\n").map((line) => JSON.parse(line) as Line);
}

it("the reporter writes one line per test, per broken file and per error outside tests", () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "baton-reporter-"));
  try {
    const lines = resultsOf(folder);
    const of = (name: string): Line | undefined => lines.find((line) => line.name === name);
    expect(of("group > passes")).toMatchObject({ status: "passed", file: "test/a.test.ts" });
    expect(of("group > fails")?.messages?.[0]).toContain("expected 1 to be 2");
    expect(of("group > says why")).toMatchObject({ status: "skipped", reason: "no such device" });
    expect(of("group > does not say why")).toMatchObject({ status: "skipped", reason: "" });
    expect(of("(the file itself)")).toMatchObject({ status: "failed", file: "test/broken.test.ts" });
    expect(of("(error outside any test)")?.messages?.[0]).toContain("nobody caught this");
    expect(lines.at(-1)).toEqual({ done: true });
    expect(lines).toHaveLength(8);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
