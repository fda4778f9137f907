// SPDX-License-Identifier: Apache-2.0
// The suite about the life of cached rows: its trace, and a run of it on a small model, whose times mean nothing and whose
// counts do.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeModel } from "../../bench/models/model-files.js";
import type { Shape } from "../../bench/models/shapes.js";
import { checkReport } from "../../bench/runner/report.js";
import { traceOf } from "../../bench/subjects/policies.js";

describe("the trace of mixed chains", () => {
  const trace = traceOf(300);
  it("is the same every time, and each document has one length", () => {
    expect(traceOf(300)).toEqual(trace);
    const rows = new Map(trace.map((one) => [one.document, one.rows]));
    for (const one of trace) expect(one.rows).toBe(rows.get(one.document));
  });
  it("has documents that come back often, now and then, and never", () => {
    const counts = new Map<number, number>();
    for (const { document } of trace) counts.set(document, (counts.get(document) ?? 0) + 1);
    expect(counts.get(0)).toBeGreaterThan(20);
    const letters = [...counts].filter(([document]) => document >= 100 && document < 1000);
    expect(letters.length).toBeGreaterThan(30);
    expect([...counts].filter(([document]) => document >= 1000).every(([, count]) => count === 1)).toBe(true);
  });
});

describe("a run", () => {
  const shape: Shape = {
    ...{ layers: 2, hidden: 64, ffn: 128, heads: 2, kvHeads: 1, headDim: 32 },
    ...{ vocab: 32_768, contextLength: 8192, ropeTheta: 10_000 },
  };
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const folder = mkdtempSync(path.join(os.tmpdir(), "baton-cache-suite-"));
  const json = path.join(folder, "cache.json");

  beforeAll(() => {
    const model = path.join(folder, "tiny.gguf");
    writeModel(model, "tiny", shape, "Q4_1");
    const options = { "--suite": "cache", "--rivals": "none", "--patience": "0", "--threads": "1" };
    const args = Object.entries({ ...options, "--model": model, "--json": json }).flat();
    const bench = path.join(root, "bench/run.mjs");
    const run = spawnSync(process.execPath, [bench, "--quick", ...args], { encoding: "utf8" });
    expect(run.stderr).toContain("cache-branches-32 baton 1/1");
    expect(run.status).toBe(0);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const figures = () => {
    const { results } = checkReport(JSON.parse(readFileSync(json, "utf8")));
    return new Map(results.map((one) => [`${one.workload} ${one.metric}`, one.median]));
  };

  it("has every figure", () => {
    const names = [...figures().keys()];
    for (const name of ["snapshot-2048 save", "snapshot-2048-int8 restore", "reuse-index-2048 gain"])
      expect(names).toContain(`cache-${name}`);
    expect(names).toContain("cache-reuse-disk-2048 tier-speed");
    expect(names.filter((name) => name.startsWith("cache-policies"))).toHaveLength(5);
  });

  it("counts one trunk under 32 branches, and no more when they are closed", () => {
    expect(figures().get("cache-branches-32 kv-held")).toBeCloseTo((510 + 32) / 510, 6);
    expect(figures().get("cache-branches-32 kv-left")).toBe(1);
  });

  it("finds rows again under both policies, and stores int8 rows in little more than half the bytes", () => {
    for (const policy of ["lru", "cost"]) {
      const hits = figures().get(`cache-policies hits-${policy}`);
      expect(hits).toBeGreaterThan(0);
      expect(hits).toBeLessThan(1);
    }
    const share =
      (figures().get("cache-snapshot-2048-int8 file") ?? 0) /
      (figures().get("cache-snapshot-2048 file") ?? 1);
    expect(share).toBeGreaterThan(0.5);
    expect(share).toBeLessThan(0.56);
  });
});
