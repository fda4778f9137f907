// SPDX-License-Identifier: Apache-2.0
// However a process ends while the engine works: with the exit code that it would have had, at once, without a crash.

import { describe, expect, test } from "vitest";
import { runChild } from "./support.js";

/** Way, exit code, how often, what standard output and standard error say. */
const ends: [way: string, code: number, times: number, stdout: RegExp, stderr: RegExp][] = [
  ["open-model", 0, 2, /^$/, /^$/],
  ["after-run", 0, 2, /^$/, /^$/],
  ["run-in-flight", 0, 2, /^tokens 400\n$/, /^$/],
  ["closed", 0, 3, /^CLOSED\n$/, /^$/],
  ["exit-while-streaming", 7, 5, /^$/, /^$/],
  ["exit-in-event", 7, 3, /^$/, /^$/],
  ["exit-while-loading", 7, 5, /^$/, /^$/],
  ["exit-while-closing", 7, 5, /^$/, /^$/],
  ["exit-with-two-models", 7, 4, /^$/, /^$/],
  ["uncaught-exception", 1, 4, /^$/, /Error: on purpose/],
  ["unhandled-rejection", 1, 3, /^$/, /Error: on purpose/],
  ["listener-throws", 1, 2, /^$/, /Error: on purpose/],
];

describe("a process that ends", () => {
  for (const [way, code, times, stdout, stderr] of ends) {
    test(`${way}: code ${code}, ${times} times`, async () => {
      for (let turn = 0; turn < times; turn++) {
        const outcome = await runChild("exit.mjs", [way]);
        expect(outcome).toMatchObject({ code, signal: null });
        expect(outcome.stdout).toMatch(stdout);
        expect(outcome.stderr).toMatch(stderr);
      }
    });
  }

  test("terminated by a signal: that signal, not another", async () => {
    expect(await runChild("exit.mjs", ["terminated"])).toMatchObject({ code: null, signal: "SIGTERM" });
  });
});
