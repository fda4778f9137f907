// SPDX-License-Identifier: Apache-2.0
// Bootstrap intervals against ones worked out by hand, and against numpy's of many more samples.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { bootstrapMean, meanByItem, pairedDifference, quantile } from "../../bench/quality/bootstrap.js";
import { fixturePath } from "../helpers/fixtures.js";

interface Fixture {
  cases: Record<string, { values: number[]; mean: number; interval: [number, number] }>;
  quantiles: [number, number][];
}
const fixture = JSON.parse(readFileSync(fixturePath("bootstrap/intervals.json"), "utf8")) as Fixture;

describe("bootstrapMean", () => {
  it("has the interval that all 27 samples of three values have", () => {
    // 0 0 0 and 6 6 6 are one sample in 27 each, 3.7 %: both ends of the middle 95 % are there
    expect(bootstrapMean([0, 3, 6])).toEqual({ mean: 3, low: 0, high: 6 });
    // of four, one sample in 256 has the sum 0 and four have 1: 2 %, below the tail of 2.5 %; ten more have the sum 2
    const four = bootstrapMean([0, 1, 2, 3]);
    expect([four.mean, four.low, four.high]).toEqual([1.5, 0.5, 2.5]);
  });

  it.each(Object.entries(fixture.cases))("agrees with numpy: %s", (_, { values, mean, interval }) => {
    const found = bootstrapMean(values);
    const [low, high] = interval;
    const near = (high - low) * 0.04;
    expect(found.mean).toBeCloseTo(mean, 9);
    expect(Math.abs(found.low - low)).toBeLessThan(near);
    expect(Math.abs(found.high - high)).toBeLessThan(near);
  });

  it("is the same for the same seed, another for another", () => {
    const values = fixture.cases.f1?.values ?? [];
    expect(bootstrapMean(values, 1)).toEqual(bootstrapMean(values, 1));
    expect(bootstrapMean(values, 2).low).not.toBe(bootstrapMean(values, 1).low);
  });

  it("of one value, or of equal ones, has no width; of none is refused", () => {
    expect(bootstrapMean([7, 7, 7])).toEqual({ mean: 7, low: 7, high: 7 });
    expect(() => bootstrapMean([])).toThrow(RangeError);
  });
});

it("quantiles lie between neighbours as numpy's do", () => {
  for (const [share, expected] of fixture.quantiles) {
    expect(quantile(Float64Array.of(1, 2, 4, 8), share)).toBeCloseTo(expected, 12);
  }
});

describe("pairedDifference", () => {
  it("is of the differences, not of the means apart: what is always one better has no width", () => {
    const own = [5, 90, 31, 2];
    const other = own.map((one) => one - 1);
    expect(pairedDifference(own, other)).toEqual({ mean: 1, low: 1, high: 1 });
    expect(pairedDifference(other, own).mean).toBe(-1);
  });

  it("refuses other items", () => {
    expect(() => pairedDifference([1, 2], [1])).toThrow(/2 items cannot be compared with 1/);
  });
});

it("meanByItem is over runs", () => {
  expect(
    meanByItem([
      [0, 100, 50],
      [100, 100, 0],
    ]),
  ).toEqual([50, 100, 25]);
});
