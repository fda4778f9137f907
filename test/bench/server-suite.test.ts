// SPDX-License-Identifier: Apache-2.0
// The suite of the server on a small model, whose times mean nothing: that every figure is there.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { checkReport } from "../../bench/runner/report.js";
import { fixturePath } from "../helpers/fixtures.js";

it("a run has every figure", () => {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const folder = mkdtempSync(path.join(os.tmpdir(), "baton-server-suite-"));
  try {
    const json = path.join(folder, "server.json");
    const model = fixturePath("tiny-llama/tiny-q8_0.gguf");
    const options = {
      "--suite": "server",
      "--patience": "0",
      "--threads": "1",
      "--model": model,
      "--json": json,
    };
    const bench = path.join(root, "bench/run.mjs");
    const args = [bench, "--quick", ...Object.entries(options).flat()];
    const run = spawnSync(process.execPath, args, { encoding: "utf8" });
    expect(run.stderr).toContain("server-8x64");
    expect(run.status).toBe(0);
    const { results } = checkReport(JSON.parse(readFileSync(json, "utf8")));
    const names = results.map((one) => `${one.workload} ${one.metric}`);
    for (const name of [
      "server-1x64 request-overhead",
      "server-8x64 token-overhead",
      "server-8x64 token-cpu",
    ])
      expect(names).toContain(name);
    expect(results.every((one) => Number.isFinite(one.median))).toBe(true);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
