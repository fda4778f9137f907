// SPDX-License-Identifier: Apache-2.0
// The progress of a training run as people see it, on a terminal and elsewhere.

import { describe, expect, test } from "vitest";
import { formatSeconds } from "../../src/cli/progress.js";
import { createTuneProgress } from "../../src/cli/tune-progress.js";
import type { TuneStep } from "../../src/index.js";

describe("progress", () => {
  const step = (one: number): TuneStep => ({
    step: one,
    steps: 100,
    epoch: one / 50,
    loss: 2.5,
    learningRate: 0.004,
    gradientNorm: 12.345,
    rows: { live: 80, frozen: 7600, reused: 7600, computed: 130 },
    rowsPerSecond: 431.4,
    secondsLeft: 3725,
    ...(one === 1 ? { before: { step: 0, epoch: 0, devLoss: 4.16194, scores: {} } } : {}),
    ...(one === 50
      ? { evaluation: { step: 50, epoch: 1, devLoss: 2.74812, scores: { exactMatch: 3.33, f1: 9.87 } } }
      : {}),
  });
  const shown = (isTTY: boolean, columns = 132, quiet = false): string => {
    const parts: string[] = [];
    const stderr = { write: (text: string) => parts.push(text), isTTY, columns };
    const progress = createTuneProgress({ stdout: { write() {} }, stderr }, quiet);
    progress.evaluating({ phase: "evaluate", done: 8, total: 16 });
    progress.evaluating({ phase: "evaluate", done: 16, total: 16 });
    for (let one = 1; one <= 100; one++) progress.report(step(one));
    progress.stop();
    return parts.join("");
  };

  test("without a terminal is some plain lines and every evaluation", () => {
    const lines = shown(false).trimEnd().split("\n");
    expect(lines).toHaveLength(24);
    expect(lines.slice(0, 2)).toEqual(["dev data 16/16", "dev loss 4.162 before the first step"]);
    expect(lines[2]).toBe(
      "step 1/100  epoch 0.02  loss 2.500  rate 4.0e-3  gradient 12.3  rows 80 live 7600 frozen (7600 reused)  431 rows/s  1:02:05 left",
    );
    expect(lines).toContain("dev loss 2.748, exactMatch 3.3, f1 9.9 after step 50 (epoch 1)");
    expect(lines.join("")).not.toContain("\u001b");
  });

  test("on a terminal is one line, and evaluations that stay", () => {
    const text = shown(true);
    expect(text.split("\n")).toHaveLength(3);
    expect(text.split("\r\u001b[K")).toHaveLength(106);
    expect(text.endsWith("\r\u001b[K")).toBe(true);
  });

  test("quietly is evaluations alone, on a terminal too", () => {
    const wanted =
      "dev loss 4.162 before the first step\ndev loss 2.748, exactMatch 3.3, f1 9.9 after step 50 (epoch 1)\n";
    expect([shown(true, 132, true), shown(false, 132, true)]).toEqual([wanted, wanted]);
  });

  test("the line that is written again is never wider than the terminal, and what matters stays", () => {
    const linesOf = (columns: number) =>
      shown(true, columns)
        .replaceAll("\r\u001b[K", "\n")
        .split("\n")
        .filter((line) => line.startsWith("step "));
    for (const columns of [132, 100, 80, 50, 20]) {
      for (const line of linesOf(columns)) expect(line.length).toBeLessThan(columns);
    }
    expect(linesOf(80)[0]).toBe("step 1/100  epoch 0.02  loss 2.500  rate 4.0e-3  431 rows/s  1:02:05 left");
    expect(linesOf(50)[1]).toBe("step 2/100  epoch 0.04  loss 2.500  1:02:05 left");
  });

  test("times are for people", () => {
    expect([0, 59.6, 61, 3600].map(formatSeconds)).toEqual(["0:00", "1:00", "1:01", "1:00:00"]);
  });
});
