// SPDX-License-Identifier: Apache-2.0
// How far something is, as people see it: on a terminal, elsewhere and quietly. Time is given, so that nothing waits.

import { describe, expect, test } from "vitest";
import { createProgress } from "../../src/cli/progress.js";
import type { Progress } from "../../src/index.js";

const mebibyte = 1 << 20;
const download = (done: number): Progress => ({
  source: "hub",
  phase: "download",
  done,
  total: 100 * mebibyte,
});

/** What is written while `steps` come, each at its second. */
function shown(
  steps: readonly [second: number, progress: Progress][],
  { isTTY = false, quiet = false } = {},
): string {
  const parts: string[] = [];
  const stderr = {
    write: (text: string) => parts.push(text),
    isTTY,
    columns: 100,
    on() {},
    removeListener() {},
  };
  let now = 0;
  const progress = createProgress({ stdout: { write() {} }, stderr }, { quiet, now: () => now * 1000 });
  for (const [second, one] of steps) {
    now = second;
    progress.report(one);
  }
  progress.stop();
  return parts.join("");
}

const hundredSeconds = Array.from({ length: 101 }, (_, second): [number, Progress] => [
  second,
  download(second * mebibyte),
]);

describe("without a terminal", () => {
  test("a phase begins with a line, and has one every five seconds, with speed and time left", () => {
    const lines = shown(hundredSeconds).split("\n");
    expect(lines).toHaveLength(21); // the last is empty
    expect(lines[0]).toBe("hub: download of 100.0 MiB");
    expect(lines[1]).toBe("hub: download 5 % of 100.0 MiB, 1.0 MiB/s, 1:35 left");
    expect(lines[19]).toBe("hub: download 95 % of 100.0 MiB, 1.0 MiB/s, 0:05 left");
    expect(lines.join("")).not.toContain("\r");
    expect(lines.join("")).not.toContain("\u001b");
  });

  test("phases that are over soon have their line alone, and ends are told", () => {
    const load = (done: number): Progress => ({ source: "engine", phase: "load", done, total: 1000 });
    const text = shown([
      [0, { source: "hub", phase: "done", done: 7, total: 7, detail: "/a/file" }],
      ...Array.from({ length: 11 }, (_, part): [number, Progress] => [part / 100, load(part * 100)]),
      [0.2, { source: "engine", phase: "ready", done: 1000, total: 1000 }],
    ]);
    expect(text).toBe("hub: done /a/file\nengine: load of 1000 B\nengine: ready\n");
  });

  test("what a run computes is told when it takes its time, and by stage", () => {
    const rows = (stage: string, done: number): Progress => ({ phase: "prefill", stage, done, total: 4000 });
    expect(
      shown([
        [0, rows("a", 0)],
        [0.3, rows("a", 4000)],
      ]),
    ).toBe("");
    expect(
      shown([
        [0, rows("b", 0)],
        [6, rows("b", 3000)],
      ]),
    ).toBe("b: prefill 75 % of 4000 rows, 500 rows/s, 0:02 left\n");
  });

  test("a download whose size nobody knows says how much there is", () => {
    const unknown = (done: number): Progress => ({
      source: "python",
      phase: "download",
      done,
      detail: "a==1",
    });
    expect(
      shown([
        [0, unknown(0)],
        [10, unknown(20 * mebibyte)],
      ]),
    ).toBe("python: download a==1\npython: download a==1 20.0 MiB, 2.0 MiB/s\n");
  });
});

describe("on a terminal", () => {
  test("is a bar with speed and time left, which is taken away", () => {
    const text = shown(hundredSeconds, { isTTY: true });
    expect(text).toContain("hub: download [");
    expect(text).toMatch(/ 1 % of 100\.0 MiB, 1\.0 MiB\/s, 1:39 left/);
    expect(text).not.toContain("100 %");
    expect(text.endsWith("\n")).toBe(false);
  });

  test("nothing flickers for what is over soon, and why a source failed stays", () => {
    expect(
      shown(
        [
          [0, download(0)],
          [0.2, download(100 * mebibyte)],
        ],
        { isTTY: true },
      ),
    ).toBe("");
    const failed: Progress = { source: "hub", phase: "failed", done: 0, detail: "no network" };
    expect(shown([[0, failed]], { isTTY: true })).toBe("hub: failed no network\n");
  });
});

test("quietly nothing is written", () => {
  expect(shown(hundredSeconds, { quiet: true }) + shown(hundredSeconds, { quiet: true, isTTY: true })).toBe(
    "",
  );
});
