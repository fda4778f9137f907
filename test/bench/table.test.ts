// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { checkFloors } from "../../bench/runner/floors.js";
import { columns, figure, floorLines, resultLines } from "../../bench/runner/table.js";
import { workloadOf, workloads } from "../../bench/workloads/index.js";
import { report, result } from "./samples.js";

describe("figure", () => {
  it.each([
    [1234.5, "1235"],
    [123.45, "123"],
    [12.345, "12.3"],
    [1.2345, "1.23"],
    [0.00012, "0.0001"],
    [0, "0"],
  ])("%d is %s", (value, text) => expect(figure(value)).toBe(text));
});

describe("columns", () => {
  it("pads words on the right and figures on the left", () => {
    expect(
      columns(
        [
          ["a", "1"],
          ["bbb", "22"],
        ],
        1,
      ),
    ).toEqual(["a     1", "bbb  22"]);
  });
});

const rival = (fields: Parameters<typeof result>[0]) => result({ subject: "llama-bench", ...fields });

describe("resultLines", () => {
  it("says how many times better we are, in the metric's direction", () => {
    const results = [
      result(),
      rival({ median: 1600, min: 1600, max: 1600 }),
      result({ workload: "handover-2048", metric: "first-token", unit: "ms", median: 20, min: 20, max: 20 }),
      rival({ workload: "handover-2048", metric: "first-token", unit: "ms", median: 100, min: 90, max: 110 }),
    ];
    const lines = resultLines(report(results), "baton", workloads);
    expect(lines).toHaveLength(5);
    expect(lines[1]).not.toMatch(/x/);
    expect(lines[2]).toMatch(/^prefill-512 +llama-bench +tok\/s +1600 .* 0\.500x$/);
    expect(lines[4]).toMatch(/^handover-2048 first-token +llama-bench +ms +100 .* 5\.00x$/);
  });

  it("marks results with disturbed trials", () => {
    const lines = resultLines(report([result({ disturbed: 2 })]), "baton", workloads);
    expect(lines[1]).toMatch(/2 disturbed$/);
  });
});

describe("checkFloors", () => {
  it("passes at the promised factor and misses below it", () => {
    const at = (median: number) => {
      const own = result({ median, min: median, max: median });
      const other = rival({ median: 1000, min: 1000, max: 1000 });
      return checkFloors([own, other], workloadOf, "baton");
    };
    expect(at(700)).toMatchObject([{ outcome: "pass", figure: 0.7, promise: ">= 0.7x llama-bench" }]);
    expect(at(690)).toMatchObject([{ outcome: "miss", figure: 0.69 }]);
  });

  it("compares shares of another subject's figure", () => {
    const rows = { workload: "stages-4-2000", metric: "rows", unit: "rows", min: 0, max: 9000 };
    const at = (median: number) =>
      checkFloors(
        [result({ ...rows, median }), result({ ...rows, subject: "baton-recompute", median: 8000 })],
        workloadOf,
        "baton",
      );
    expect(at(3200)).toMatchObject([{ outcome: "pass", figure: 0.4, promise: "<= 0.4 of baton-recompute" }]);
    expect(at(3300)).toMatchObject([{ outcome: "miss" }]);
    expect(checkFloors([result({ ...rows, median: 1 })], workloadOf, "baton")).toMatchObject([
      { outcome: "not measured", figure: null },
    ]);
  });

  it("compares limits without a rival", () => {
    const own = { workload: "overhead-128", metric: "js-overhead", unit: "us/tok", min: 0, max: 500 };
    expect(checkFloors([result({ ...own, median: 99 })], workloadOf, "baton")).toMatchObject([
      { outcome: "pass", promise: "<= 100 us/tok" },
    ]);
    expect(checkFloors([result({ ...own, median: 101 })], workloadOf, "baton")).toMatchObject([
      { outcome: "miss" },
    ]);
  });

  it("does not take a rival that was not measured for a pass", () => {
    const checks = checkFloors([result()], workloadOf, "baton");
    expect(checks).toMatchObject([{ outcome: "not measured", figure: null }]);
    expect(floorLines(checks)).toEqual(["not measured  prefill-512 prefill  >= 0.7x llama-bench"]);
  });

  it("says when a side of it was measured on a busy machine only", () => {
    const checks = checkFloors([result({ n: 3, disturbed: 3 }), rival({})], workloadOf, "baton");
    expect(checks).toMatchObject([{ outcome: "pass", disturbed: true }]);
  });
});
