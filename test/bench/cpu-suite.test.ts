// SPDX-License-Identifier: Apache-2.0
// The suite about speed on CPUs: its arithmetic on made-up figures, and a run of it on a small model, whose figures
// mean nothing.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Metric, Subject, Task, Workload } from "../../bench/contract.js";
import { pageOf } from "../../bench/cpu-page/main.js";
import { writeModel } from "../../bench/models/model-files.js";
import type { Shape } from "../../bench/models/shapes.js";
import { checkFloors } from "../../bench/runner/floors.js";
import { machineKind } from "../../bench/runner/machine.js";
import { profileOf } from "../../bench/runner/profile.js";
import { checkReport, type Turn } from "../../bench/runner/report.js";
import { pairedRatio } from "../../bench/runner/statistics.js";
import { bestWay, shortened } from "../../bench/runner/ways.js";
import { rateTogether } from "../../bench/subjects/engine.js";
import { readLimit } from "../../bench/subjects/limits.js";
import { workloadOf, workloads } from "../../bench/workloads/index.js";
import { result } from "./samples.js";

const turns = (...values: number[]): Turn[] => values.map((value) => ({ value, others: 0 }));

describe("machineKind", () => {
  const kinds = (isa: string[]) =>
    [undefined, "avx512", "avx2", "scalar"].map((cap) => machineKind({ isa }, cap));

  it("is the widest that the CPU has and the cap allows", () => {
    expect(kinds(["avx2", "avx512f", "amx_int8"])).toEqual(["amx", "avx512", "avx2", "scalar"]);
    expect(kinds(["avx2", "avx512f"])).toEqual(["avx512", "avx512", "avx2", "scalar"]);
    expect(kinds(["avx2"])).toEqual(["avx2", "avx2", "avx2", "scalar"]);
    expect(kinds([])).toEqual(["scalar", "scalar", "scalar", "scalar"]);
  });
});

describe("pairedRatio", () => {
  const quiet = ({ others }: Turn) => others === 0;

  it("is that of the turns, where the clock changed between them", () => {
    // The machine became half as fast: medians would say 250 / 150.
    expect(pairedRatio(turns(400, 200, 100), turns(200, 100, 50), "higher", quiet)?.median).toBe(2);
    expect(pairedRatio(turns(10, 20), turns(30, 30), "lower", quiet)).toEqual({
      median: 2.25,
      min: 1.5,
      max: 3,
      n: 2,
    });
  });

  it("leaves disturbed turns out on either side while a quiet pair is left", () => {
    const own = [...turns(100), { value: 10, others: 1 }, ...turns(300)];
    const other = [...turns(100, 100), { value: 100, others: 0.5 }];
    expect(pairedRatio(own, other, "higher", quiet)).toMatchObject({ median: 1, n: 1 });
    const busy = own.map((turn) => ({ ...turn, others: 1 }));
    expect(pairedRatio(busy, other, "higher", quiet)).toMatchObject({ median: 1, n: 3 });
  });

  it("is none without a common turn", () => {
    expect(pairedRatio([], turns(1), "higher", quiet)).toBeNull();
  });
});

describe("floors of the suite", () => {
  const workload: Workload = {
    name: "made-up",
    suite: "cpu",
    metrics: [
      { name: "speed", unit: "tok/s", better: "higher" },
      { name: "error-int8", unit: "nats", better: "lower" },
    ],
    floors: [
      { metric: "speed", against: "rival", factor: 3, on: ["amx"] },
      { metric: "speed", against: "rival", factor: 1.5, on: ["avx2"], cases: /-long$/ },
      { metric: "speed", atLeast: 100 },
      { metric: "error-int8", against: "rival", noWorse: true, slack: 0.001, theirs: "error" },
    ],
    cases: () => [],
  };
  const made = (subject: string, metric: string, ...values: number[]) =>
    result({
      ...{ workload: "made-up-long", subject, metric, turns: turns(...values), n: values.length },
      median: values[0] as number,
      min: Math.min(...values),
      max: Math.max(...values),
    });
  const checks = (kind: "amx" | "avx2", ...results: ReturnType<typeof made>[]) =>
    checkFloors(results, () => workload, "baton", kind).map(({ promise, figure, outcome }) => [
      promise,
      figure,
      outcome,
    ]);

  it("depend on the machine and on the case", () => {
    const both = [made("baton", "speed", 200), made("rival", "speed", 100)];
    expect(checks("amx", ...both)).toEqual([
      [">= 3x rival", 2, "miss"],
      [">= 100 tok/s", 200, "pass"],
    ]);
    expect(checks("avx2", ...both)[0]).toEqual([">= 1.5x rival", 2, "pass"]);
    const short = both.map((one) => ({ ...one, workload: "made-up-short" }));
    expect(checks("avx2", ...short)).toEqual([[">= 100 tok/s", 200, "pass"]]);
  });

  it("compare turn by turn, and another metric of the rival where they say so", () => {
    const paired = [made("baton", "speed", 200, 400, 800), made("rival", "speed", 100, 100, 100)];
    expect(checks("amx", ...paired)[0]).toEqual([">= 3x rival", 4, "pass"]);
    const errors = [made("baton", "error-int8", 0.02), made("rival", "error", 0.01)];
    expect(checks("amx", ...errors)).toEqual([["<= rival's error", 0.02, "miss"]]);
    expect(checks("amx", made("baton", "error-int8", 0.011), made("rival", "error", 0.01))[0]?.[2]).toBe(
      "pass",
    );
    expect(checks("amx", made("baton", "error-int8", 0.02))).toEqual([
      ["<= rival's error", null, "not measured"],
    ]);
  });
});

describe("ways", () => {
  const metrics: Metric[] = [{ name: "time", unit: "ms", better: "lower" }];
  const task: Task = { kind: "handover", prefix: 2048, opener: 16, repetitions: 5 };
  const settings = { model: "m", threads: 2, device: "cpu" };
  const subject: Subject = {
    name: "rival",
    rival: true,
    kinds: ["handover"],
    ways: () => ["slow", "fails", "fast"].map((name) => ({ name, args: [name] })),
    describe: async () => "",
    measure: async () => ({}),
  };

  it("are each tried on the short form, and the best is taken", async () => {
    const seen: Task[] = [];
    const { way, tried } = await bestWay("case", subject, task, settings, metrics, async (short, { way }) => {
      seen.push(short);
      if (way?.name === "fails") throw new Error("it cannot");
      return { time: [way?.name === "fast" ? 10 : 90] };
    });
    expect(way?.name).toBe("fast");
    expect(tried.map(({ way, value }) => [way, value])).toEqual([
      ["slow", 90],
      ["fast", 10],
    ]);
    expect(seen).toEqual(Array.from({ length: 3 }, () => ({ ...task, repetitions: 1 })));
  });

  it("fail as the last one did when all do", async () => {
    const fails = async () => {
      throw new Error("it cannot");
    };
    await expect(bestWay("case", subject, task, settings, metrics, fails)).rejects.toThrow("it cannot");
  });

  it("keep rows and contexts", () => {
    const batch: Task = {
      kind: "batch",
      context: 128,
      shared: false,
      counts: [1, 8],
      tokens: 32,
      repetitions: 3,
    };
    expect(shortened(batch)).toEqual({ ...batch, counts: [8], tokens: 12, repetitions: 1 });
    expect(
      shortened({ kind: "decode", context: 2048, tokens: 8, repetitions: 3, warmup: false }),
    ).toMatchObject({
      context: 2048,
      tokens: 8,
    });
  });
});

describe("profileOf", () => {
  const event = (name: string, cat: string, ts: number, dur: number, args: object, pid = 2) => {
    return { name, ph: "X", cat, ts, dur, pid, tid: 1, args };
  };
  // Another model's, the context's turn, then one of two rows: 60 of 100 us linear at 50 %, 20 attend at 10 %, 20 between.
  const trace = JSON.stringify([
    { name: "process_name", ph: "M", pid: 2, tid: 1, args: { name: "m" } },
    event("turn", "step", 0, 900, {}, 1),
    event("turn", "step", 0, 500, {}),
    event("forward", "step", 1, 498, { "batch rows": 512 }),
    event("linear", "op", 2, 400, { rows: 512, "% of limit": 90 }),
    event("turn", "step", 1000, 100, {}),
    event("forward", "step", 1005, 90, { "batch rows": 2 }),
    event("linear", "op", 1010, 40, { "% of limit": 60 }),
    event("linear", "op", 1050, 20, { "% of limit": 30 }),
    event("attend", "op", 1070, 20, { "% of limit": 10 }),
  ]);

  it("gives shares of the turns that are measured", () => {
    const task: Task = { kind: "decode", context: 512, tokens: 1, repetitions: 1, warmup: false };
    const ops = profileOf(trace, task);
    expect(ops.map(({ op }) => op)).toEqual(["linear", "attend", "between"]);
    expect(ops.map(({ share }) => share)).toEqual([0.6, 0.2, expect.closeTo(0.2, 9)]);
    expect(ops[0]?.ofLimit).toBeCloseTo(0.5, 9);
  });

  it("counts long forwards where they are the task", () => {
    const ops = profileOf(trace, { kind: "prefill", rows: 512, repetitions: 1, warmup: false });
    expect(ops[0]?.share).toBeCloseTo(460 / 600, 9);
  });
});

describe("figures", () => {
  it("of outputs together begin when all have begun", () => {
    const from = (begun: number, ended: number) => ({ begun, ended });
    // Two of 11 tokens, 10 after their first: from 100 ms to 300 ms, 8 of one and 10 of the other.
    expect(rateTogether([from(50, 300), from(100, 300)], 11)).toBeCloseTo(18_000 / 200, 9);
    // One that ends earlier counts as far as it went.
    expect(rateTogether([from(0, 200), from(100, 300)], 11)).toBeCloseTo(15_000 / 200, 9);
    expect(rateTogether([from(0, 100)], 11)).toBeCloseTo(100, 9);
    expect(() => rateTogether([from(0, 100), from(100, 100)], 1)).toThrow(/not written at the same time/);
  });

  it("of the read limit are those of the next larger buffer", () => {
    const limit = (bytes: number, rate: number) => ({
      ...{ name: `read ${bytes}`, unit: "B/s" as const, bytes },
      rate: { median: rate, min: rate, max: rate + 1 },
    });
    const fma = { name: "FMA", unit: "FLOP/s" as const, bytes: 0, rate: { median: 9, min: 9, max: 9 } };
    const limits = [fma, limit(1000, 20), limit(100, 50)];
    expect([1, 100, 101, 5000].map((bytes) => readLimit(limits, bytes))).toEqual([51, 51, 21, 21]);
  });
});

// Every row of the suite that needs neither rivals, data nor a compiler. The model is large enough for tokens to arrive
// one after another.
describe("a run", () => {
  const shape: Shape = {
    ...{ layers: 6, hidden: 256, ffn: 768, heads: 8, kvHeads: 4, headDim: 32 },
    ...{ vocab: 32_768, contextLength: 4096, ropeTheta: 10_000 },
  };
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const folder = mkdtempSync(path.join(os.tmpdir(), "baton-cpu-suite-"));
  const json = path.join(folder, "cpu.json");

  beforeAll(() => {
    const model = path.join(folder, "smollm2-135m-Q4_1.gguf");
    writeModel(model, "tiny", shape, "Q4_1");
    const only = "cpu-prefill,cpu-handover,cpu-batch,cpu-kv,cpu-overhead,cpu-load,cpu-drafting";
    const options = {
      "--suite": "cpu",
      "--only": only,
      "--rivals": "none",
      "--types": "Q4_1",
      "--patience": "0",
    };
    const paths = { "--model": model, "--models": folder, "--json": json, "--threads": "1" };
    const args = Object.entries({ ...options, ...paths }).flat();
    const env = { ...process.env, BATON_DATA: "" };
    const run = spawnSync(process.execPath, [path.join(root, "bench/run.mjs"), "--quick", ...args], {
      encoding: "utf8",
      env,
    });
    expect(run.stderr).toContain("cpu-prefill-smollm2-135m-Q4_1-128 baton 1/2");
    expect(run.status).toBe(0);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const read = () => checkReport(JSON.parse(readFileSync(json, "utf8")));

  it("has a figure of every metric that was asked for, with its turns", () => {
    const { results, settings, machine } = read();
    expect(settings).toMatchObject({ suite: "cpu", quick: true, threads: 1 });
    expect(machine.cpu).not.toBe("");
    const metrics = (name: string) =>
      new Set(results.filter(({ workload }) => workload.startsWith(name)).map(({ metric }) => metric));
    expect([...metrics("cpu-batch-own")]).toEqual(["decode-8", "decode-1", "gain"]);
    expect([...metrics("cpu-kv")]).toEqual(["decode-f16", "decode-int8", "gain", "kv-bytes"]);
    expect([...metrics("cpu-load")]).toEqual(["first-token", "resident", "resident-added"]);
    expect(metrics("cpu-overhead").has("js-overhead")).toBe(true);
    for (const { turns, n, disturbed, median } of results) {
      expect(turns?.length).toBeGreaterThanOrEqual(n);
      expect(disturbed).toBeLessThanOrEqual(turns?.length ?? 0);
      expect(median).toBeGreaterThan(0);
    }
    // Heads of 32 numbers: 32 + 2 bytes a head instead of 64.
    expect(results.find(({ metric }) => metric === "kv-bytes")?.median).toBeCloseTo(34 / 64, 2);
  });

  it("has a profile of what missed a target, its parts a whole", () => {
    const { results, machine, profiles = [] } = read();
    const checks = checkFloors(results, workloadOf, "baton", machineKind(machine, process.env.BATON_ISA));
    const missed = checks.filter(({ outcome }) => outcome === "miss").map(({ workload }) => workload);
    const traced = ["cpu-prefill", "cpu-handover", "cpu-batch", "cpu-kv"];
    const expected = missed.filter((id) => traced.some((name) => id.startsWith(name)));
    expect(profiles.map(({ workload }) => workload)).toEqual([...new Set(expected)]);
    for (const { ops } of profiles) {
      expect(ops.length).toBeGreaterThan(3);
      expect(ops.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 6);
    }
  });

  it("says why what is not there is not", () => {
    const { unmeasured = [] } = read();
    expect(unmeasured).toEqual([{ workload: "cpu-drafting-4", why: expect.stringContaining("BATON_DATA") }]);
  });

  it("makes the page: every figure, every promise, every gap", () => {
    const report = read();
    const { markdown, pictures } = pageOf([json]);
    const flat = markdown.replace(/ {2,}/g, " ");
    for (const { workload, metric, subject } of report.results)
      expect(flat).toContain(`| ${workload} | ${metric} | ${subject} | `);
    expect(flat).toMatch(/\| cpu-handover-2048 \| first-token \| >= 7x llama-bench \| - \| \| not measured/);
    expect(flat).toMatch(/\| cpu-overhead-128 \| js-overhead \| <= 50 us\/tok \| [\d.]+ \|/);
    expect(flat).toContain("| cpu-decode | all | was not asked for |");
    expect(flat).toMatch(/\| cpu-drafting-4 \| all \| it needs the folder/);
    expect([...pictures.keys()]).toEqual(["prefill.svg", "batch.svg"]);
    for (const { workload, metric, median } of report.results) {
      if (metric === "prefill")
        expect(pictures.get("prefill.svg"), workload).toContain(`${median.toPrecision(3)} (`);
    }
    expect(workloads.filter(({ suite }) => suite === "cpu").length).toBeGreaterThan(8);
  });
});
