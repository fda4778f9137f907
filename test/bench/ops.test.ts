// SPDX-License-Identifier: Apache-2.0
// The suite of kernels: its program runs on this machine and says what it should; no figure is looked at.
import { beforeAll, describe, expect, it } from "vitest";
import type { OpsReport, OpsSection } from "../../bench/ops/report.js";
import { checkOpsReport, checkSection, mergeLimits } from "../../bench/ops/report.js";
import { buildProgram, chosenSections, runProgram } from "../../bench/ops/suite.js";
import { opsLines } from "../../bench/ops/table.js";
import { describeMachine } from "../../bench/runner/machine.js";
import { loadNative } from "../../src/native/load.js";

let program: string;
beforeAll(async () => {
  program = await buildProgram();
}, 600_000);

const section = async (...args: string[]) =>
  checkSection(JSON.parse(await runProgram(program, ["--json", "--quick", "--repeat", "1", ...args])));

describe("the program", () => {
  it("has a section for each weight type forward and backward, and for the rest of the table", async () => {
    const names = (await runProgram(program, ["--list"])).trim().split("\n");
    for (const type of ["F32", "Q8_0", "Q4_1", "Q6_K"]) {
      expect(names).toEqual(expect.arrayContaining([`linear ${type}`, `dLinear ${type}`]));
    }
    expect(names).toEqual(
      expect.arrayContaining(["logits", "attend", "rows", "dLogits", "dAttend", "dRows"]),
    );
  });

  it("measures limits of memory and arithmetic, and every kernel of rows for 1 to 512 of them", async () => {
    const { limits, kernels, isa, threads } = await section("--section", "rows", "--threads", "1");
    expect({ isa, threads }).toEqual({ isa: loadNative().doctor().isa, threads: 1 });
    const reads = limits.filter((one) => one.unit === "B/s");
    expect(reads.length).toBeGreaterThanOrEqual(4);
    expect(reads.map((one) => one.bytes)).toEqual(reads.map((one) => one.bytes).sort((a, b) => a - b));
    expect(limits.some((one) => one.unit === "FLOP/s")).toBe(true);
    expect(limits.some((one) => one.unit === "OP/s")).toBe(isa !== "scalar");
    for (const op of [
      "rmsnorm",
      "addBias",
      "quantize",
      "rmsnormQuantize",
      "rope",
      "kvStore",
      "embed",
      "swiglu",
      "geglu",
      "merge",
    ]) {
      const rows = new Set(kernels.filter((one) => one.op === op).map((one) => one.rows));
      expect([...rows], op).toEqual([1, 2, 4, 8, 16, 128, 512]);
    }
    const swiglu = kernels.find((one) => one.op === "swiglu" && one.rows === 8);
    expect(swiglu).toMatchObject({ bytes: 3 * 4 * 8 * 1536, flops: 5 * 8 * 1536, int8: 0 });
  });

  it("counts int8 products of quantised weights apart", async () => {
    const { kernels } = await section("--section", "linear Q8_0", "--threads", "2", "R=8");
    expect(kernels.map((one) => one.op).sort()).toEqual(["linear float32", "linear int8"]);
    for (const { op, int8, flops, rows, detail } of kernels) {
      const layers = Number.parseInt(detail, 10) / 7;
      const perRow = 2 * layers * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536);
      expect({ op, rows, flops }).toEqual({ op, rows: 8, flops: 8 * perRow });
      expect(int8).toBe(op === "linear int8" ? flops : 0);
    }
  });

  it("refuses a section that it has not", async () => {
    await expect(runProgram(program, ["--section", "nothing"])).rejects.toThrow(/no section "nothing"/);
  });
});

const figures = { median: 2e9, min: 1e9, max: 3e9 };
const sample: OpsSection = {
  isa: "avx2",
  threads: 2,
  repeat: 7,
  limits: [{ name: "read 256 MiB", unit: "B/s", bytes: 1 << 28, rate: figures }],
  kernels: [
    {
      op: "rmsnorm",
      type: "",
      rows: 8,
      detail: "",
      isa: "avx2",
      bytes: 36_864,
      flops: 18_456,
      int8: 0,
      milliseconds: { median: 0.02, min: 0.01, max: 0.03 },
      bound: "memory",
      share: 0.92,
    },
  ],
};
const report: OpsReport = {
  machine: describeMachine(),
  date: new Date().toISOString(),
  commit: "0123",
  settings: { threads: 2, quick: false, repeat: 7, isa: "avx2" },
  limits: sample.limits,
  kernels: sample.kernels.map((one) => ({ ...one, section: "rows", disturbed: true })),
};

describe("the report", () => {
  it("is refused where a figure is none", () => {
    expect(checkOpsReport(JSON.parse(JSON.stringify(report)))).toEqual(report);
    const kernel = { ...sample.kernels[0], share: Number.NaN };
    expect(() => checkSection({ ...sample, kernels: [kernel] })).toThrow(/kernels\[0\]\.share is NaN/);
    const limit = { ...sample.limits[0], rate: { median: 1, min: 2, max: 3 } };
    expect(() => checkSection({ ...sample, limits: [limit] })).toThrow(/limits\[0\]\.rate/);
    expect(() => checkSection({ ...sample, limits: [] as never })).toThrow(/limits/);
  });

  it("has limits of all sections, and a line for each limit and kernel", () => {
    const faster = {
      ...sample.limits[0],
      rate: { median: 4e9, min: 2e9, max: 5e9 },
    } as (typeof sample.limits)[0];
    const merged = mergeLimits([sample, { ...sample, limits: [faster] }]);
    expect(merged).toMatchObject([{ rate: { median: 3e9, min: 1e9, max: 5e9 } }]);
    const lines = opsLines(report).join("\n");
    expect(lines).toMatch(/read 256 MiB\s+GB\/s\s+2\.00\s+1\.00-3\.00/);
    expect(lines).toMatch(
      /rmsnorm\s+avx2\s+8\s+0\.0200\s+0\.0100-0\.0300\s+0\.923\s+1\.84\s+92 %\s+memory\s+disturbed/,
    );
  });

  it("chooses sections by name, by first word, and few of them for a quick run", () => {
    const all = ["linear F16", "linear Q4_0", "linear Q4_1", "rows", "dLinear Q6_K"];
    expect(chosenSections(all, [], false)).toEqual(all);
    expect(chosenSections(all, [], true)).toEqual(["linear F16", "linear Q4_1", "rows"]);
    expect(chosenSections(all, ["linear Q4_0", "rows"], false)).toEqual(["linear Q4_0", "rows"]);
    expect(chosenSections(all, ["linear"], true)).toEqual(all.slice(0, 3));
    expect(() => chosenSections(all, ["nothing"], false)).toThrow(/--only nothing: .*dLinear Q6_K/);
  });
});
