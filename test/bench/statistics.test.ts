// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { median, spread, spreadOfTrials, timesBetter } from "../../bench/runner/statistics.js";

describe("median", () => {
  it("is the middle value, or the mean of the two middle values", () => {
    expect(median([3])).toBe(3);
    expect(median([9, 1, 5])).toBe(5);
    expect(median([10, 2, 4, 100])).toBe(7);
  });

  it("sorts numbers as numbers and leaves its argument alone", () => {
    const values = [100, 9, 10];
    expect(median(values)).toBe(10);
    expect(values).toEqual([100, 9, 10]);
  });

  it("refuses no values", () => {
    expect(() => median([])).toThrow(RangeError);
  });
});

describe("spread", () => {
  it("gives median, extremes and count", () => {
    expect(spread([4, 1, 3, 2])).toEqual({ median: 2.5, min: 1, max: 4, n: 4 });
  });
});

describe("spreadOfTrials", () => {
  it("leaves disturbed trials out as long as one was quiet", () => {
    const trials = [
      { value: 100, disturbed: false },
      { value: 20, disturbed: true },
      { value: 104, disturbed: false },
    ];
    expect(spreadOfTrials(trials)).toEqual({ median: 102, min: 100, max: 104, n: 2, disturbed: 1 });
  });

  it("keeps and counts them when none was quiet", () => {
    const trials = [
      { value: 10, disturbed: true },
      { value: 20, disturbed: true },
    ];
    expect(spreadOfTrials(trials)).toEqual({ median: 15, min: 10, max: 20, n: 2, disturbed: 2 });
  });
});

describe("timesBetter", () => {
  it("is above 1 when ours is better, in either direction", () => {
    expect(timesBetter(200, 100, "higher")).toBe(2);
    expect(timesBetter(10, 30, "lower")).toBe(3);
    expect(timesBetter(50, 100, "higher")).toBe(0.5);
  });
});
