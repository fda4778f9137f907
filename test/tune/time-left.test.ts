// SPDX-License-Identifier: Apache-2.0
// What is left of a run, from times that are given: nothing here measures any.

import { expect, test } from "vitest";
import { TimeLeft } from "../../src/tune/time-left.js";

const epochs = { stepsPerEpoch: 10, evaluateEvery: null };

test("a first evaluation is counted where another comes, not once a step", () => {
  const left = new TimeLeft();
  left.addEvaluation(100);
  left.addStep(3);
  expect(left.after(1, 30, epochs)).toBe(3 * 29 + 3 * 100);
  expect(left.after(1, 30, { ...epochs, evaluateEvery: 4 })).toBe(3 * 29 + (3 + 7) * 100);
  expect(left.after(30, 30, epochs)).toBe(0);
});

test("an epoch that finds its frozen rows is not expected to take as long as the first", () => {
  const left = new TimeLeft();
  for (let step = 0; step < 10; step++) left.addStep(30);
  for (let step = 0; step < 20; step++) left.addStep(1);
  expect(left.after(30, 40, epochs)).toBe(10);
});
