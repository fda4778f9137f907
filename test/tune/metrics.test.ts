// SPDX-License-Identifier: Apache-2.0
// SQuAD's exact match and F1: known cases, and torchmetrics' figures on texts where languages disagree
// (test/fixtures/python/answers.py).
import { describe, expect, it } from "vitest";
import { exactMatch, f1Score, normalizeAnswer } from "../../src/tune/metrics.js";
import { loadFacts } from "../helpers/fixtures.js";

interface Facts {
  pairs: { prediction: string; gold: string; exactMatch: number; f1: number }[];
}

describe("answers", () => {
  it("are compared in lower case, without punctuation, articles and spare spaces", () => {
    expect(normalizeAnswer("  The  U.S.A., an\tIsland!\n")).toBe("usa island");
    expect(exactMatch("The Beatles", "beatles.")).toBe(1);
    expect(exactMatch("The Beatles", "Beatle")).toBe(0);
  });

  it("share words as often as both have them", () => {
    expect(f1Score("in 1871 by Ada", "1871")).toBeCloseTo(2 / 5, 12);
    expect(f1Score("new york new york", "new york")).toBeCloseTo(2 / 3, 12);
    expect(f1Score("a", "the")).toBe(1);
    expect(f1Score("", "yes")).toBe(0);
    expect(f1Score("no", "yes")).toBe(0);
  });

  it("have torchmetrics' figures", () => {
    const { pairs } = loadFacts<Facts>("answers");
    expect(pairs.length).toBeGreaterThan(300);
    for (const { prediction, gold, exactMatch: exact, f1 } of pairs) {
      const shown = JSON.stringify([prediction, gold]);
      expect(100 * exactMatch(prediction, gold), shown).toBe(exact);
      expect(Math.abs(100 * f1Score(prediction, gold) - f1), shown).toBeLessThan(1e-4);
    }
    const spread = new Set(pairs.map(({ f1 }) => f1));
    expect(spread.size).toBeGreaterThan(8);
  });
});
