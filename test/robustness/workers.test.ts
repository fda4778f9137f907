// SPDX-License-Identifier: Apache-2.0
// The addon in several environments of one process: each loads and runs for itself, and may be terminated at any
// moment without harm to the others. BATON_SOAK_WORKERS=N: as many times instead.

import { describe, expect, test } from "vitest";
import { reportOf } from "./support.js";

describe("worker threads", () => {
  test("two at once load, run and end in order, and compute what the main thread computes", async () => {
    expect(await reportOf("workers.mjs", ["once", "2"])).toMatchObject({
      ended: 2,
      same: true,
      gone: true,
      agree: true,
    });
  });

  for (const [mode, count] of [
    ["stream", Number(process.env.BATON_SOAK_WORKERS ?? 20)],
    ["load", 10],
    ["close", 10],
  ] as const) {
    test(`${count} terminated while they ${mode}: no thread and no mapping stays`, async () => {
      expect(await reportOf("workers.mjs", [mode, String(count)])).toMatchObject({
        ended: count,
        same: true,
        gone: true,
      });
    });
  }
});
