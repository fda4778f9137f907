// SPDX-License-Identifier: Apache-2.0
// The garbage collector is the backstop of release() and close(): what is forgotten is freed, what still runs is not.

import { expect, test } from "vitest";
import { reportOf } from "./support.js";

test("forgotten segments give their blocks back, forgotten models their threads and mappings", async () => {
  const report = await reportOf("forgotten.mjs", [], { flags: ["--expose-gc"] });
  expect(report.used).toBeGreaterThanOrEqual(3); // some were in use before, or nothing is shown
  expect(report.opened).toBeGreaterThanOrEqual(1);
  expect(report).toMatchObject({ segments: true, models: true, tokens: 300, after: true, closed: true });
});
