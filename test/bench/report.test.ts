// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { checkOpsReport } from "../../bench/ops/report.js";
import { parseReport } from "../../bench/quality/report-file.js";
import { checkReport } from "../../bench/runner/report.js";
import { report, result } from "./samples.js";

describe("checkReport", () => {
  it("accepts a report and gives it back", () => {
    const value = JSON.parse(JSON.stringify(report([result()])));
    expect(checkReport(value)).toEqual(report([result()]));
  });

  it.each([
    ["a missing unit", { unit: undefined }, /results\[0\]\.unit is undefined/],
    ["a figure that is text", { median: "800" }, /results\[0\]\.median is 800, which must be a number/],
    ["a figure that is not finite", { max: Number.NaN }, /results\[0\]\.max/],
    ["a median outside its extremes", { median: 821 }, /not between 790 and 820/],
    ["no trials", { n: 0 }, /n must be at least 1/],
  ])("refuses %s", (_, change, message) => {
    const value = report([result(change as never)]);
    expect(() => checkReport(value)).toThrow(message);
  });

  it("refuses a report without machine, date or results", () => {
    const { machine, ...rest } = report([]);
    expect(machine.cores).toBe(2);
    expect(() => checkReport(rest)).toThrow(/machine must be an object/);
    expect(() => checkReport({ ...report([]), date: "yesterday" })).toThrow(/no date/);
    expect(() => checkReport({ ...report([]), results: {} })).toThrow(/results must be an array/);
  });

  /** Rows of the install matrix, which scripts/matrix.mjs writes and docs/install.md shows. */
  const installRows = ({ suite, date, machine, rows }: Record<string, unknown>) => {
    expect({ suite, date, machine, rows }).toMatchObject({
      suite: "install",
      date: expect.stringMatching(/^\d{4}-\d\d-\d\d$/),
      machine: { cpu: expect.any(String), cores: expect.any(Number), kernel: expect.any(String) },
      rows: expect.any(Array),
    });
    const text = expect.stringMatching(/./);
    for (const row of rows as object[])
      expect(row).toEqual({ group: text, name: text, seen: text, passed: true });
    return rows as object[];
  };

  const folder = fileURLToPath(new URL("../../bench/results", import.meta.url));
  it.each(readdirSync(folder).filter((file) => file.endsWith(".json")))(
    "accepts the committed %s",
    (file) => {
      const text = readFileSync(path.join(folder, file), "utf8");
      const figures = file.endsWith("-quality.json")
        ? parseReport(text, file).runs
        : file.endsWith("-ops.json")
          ? checkOpsReport(JSON.parse(text)).kernels
          : file.endsWith("-install.json")
            ? installRows(JSON.parse(text))
            : checkReport(JSON.parse(text)).results;
      expect(figures.length).toBeGreaterThan(0);
    },
  );
});
