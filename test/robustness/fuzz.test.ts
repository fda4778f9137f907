// SPDX-License-Identifier: Apache-2.0
// The addon protects itself: whatever is passed to it, a call returns or throws a typed error.

import { expect, test } from "vitest";
import { reportOf } from "./support.js";

test("every native function with arguments of every type: only typed errors, and the engine lives", async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const report = await reportOf("fuzz.mjs", ["12000", String(seed)]);
  expect(report, `seed ${seed}`).toMatchObject({ idle: true, works: true });
  for (const what of ["returned", "refused", "submitted", "stepped", "opened"]) {
    expect(report[what], `${what}, seed ${seed}`).toBeGreaterThan(5);
  }
  expect(Object.keys(report.codes as object), `seed ${seed}`).toEqual(
    expect.arrayContaining(["OPTION_INVALID", "CLOSED", "IO"]),
  );
});
