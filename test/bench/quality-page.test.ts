// SPDX-License-Identifier: Apache-2.0
// The page about quality from a small report: figures as they were measured, differences with their verdicts, and what
// has not been measured said to be so.
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { scaleTo } from "../../bench/page/svg.js";
import { cases } from "../../bench/quality/cases/index.js";
import type { ItemScores, QualityReport, QualityRun } from "../../bench/quality/contract.js";
import { makePage } from "../../bench/quality/page/page.js";
import { compareWithReference } from "../../bench/quality/reference-comparison.js";
import { parseReport } from "../../bench/quality/report-file.js";
import { drawCurves } from "../../src/index.js";
import { report as other } from "./samples.js";

const scores = (value: number): ItemScores => ({
  exactMatch: Array.from({ length: 20 }, (_, at) => (at < 10 ? value : 0)),
  f1: Array.from({ length: 20 }, () => value),
});

function run(fields: Partial<QualityRun>): QualityRun {
  return {
    case: "reference",
    variant: "shared",
    seed: 1,
    machine: "Imagined CPU",
    date: "2026-11-21T12:00:00.000Z",
    commit: "0123456789abcdef",
    seconds: 10,
    settings: { learningRate: 0.01 },
    evaluations: [4.16, 2.75, 2.55, 2.5].map((devLoss, epoch) => ({
      epoch,
      devLoss,
      exactMatch: epoch,
      f1: 4 * epoch,
    })),
    kept: 3,
    ...fields,
  };
}

function page(runs: QualityRun[]) {
  const report: QualityReport = {
    suite: "quality",
    machines: { "Imagined CPU": other([]).machine },
    model: "some.gguf",
    threads: 2,
    facts: { reference: { "dev items": 60 }, hotpot: {}, comqa: {} },
    runs,
  };
  const { markdown, pictures } = makePage({
    report,
    cases,
    source: "bench/results/x.json",
    folder: "quality",
    drawCurves,
  });
  return { report, pictures, markdown: markdown.replace(/ {2,}/g, " ") };
}

describe("the page", () => {
  it("is committed as the committed figures make it, its tables as the formatter has them", () => {
    const root = fileURLToPath(new URL("../..", import.meta.url));
    const committed = readFileSync(path.join(root, "docs/quality.md"), "utf8");
    const source = /bench\/results\/[\w-]+-quality\.json/.exec(committed)?.[0] ?? "";
    const report = parseReport(readFileSync(path.join(root, source), "utf8"), source);
    const { markdown, pictures } = makePage({ report, cases, source, folder: "quality", drawCurves });
    expect(markdown).toBe(committed);
    for (const [name, svg] of pictures)
      expect(readFileSync(path.join(root, "docs/quality", name), "utf8")).toBe(svg);
  });

  it("says of everything that has not been measured that it has not", () => {
    const { markdown, pictures } = page([]);
    expect(markdown.match(/No variant of it has been measured yet/g)).toHaveLength(cases.length);
    expect(pictures.size).toBe(0);
    const one = page([run({})]).markdown;
    expect(one).toContain("| recompute | not measured |");
    expect(one).toMatch(/\| shared \| 1 \| 4\.160 \| 2\.500 \| - \|/);
    expect(one).toContain("| dev items | 60 |");
  });

  it("gives a setting once where all variants have it, and else by variant", () => {
    const losses = [1];
    const runs = [
      run({ variant: "shared", losses, settings: { epochs: 3, batchSize: 4 } }),
      run({ variant: "shared", seed: 2, losses, settings: { epochs: 3, batchSize: 4 } }),
      run({ variant: "recompute", losses, settings: { epochs: 3, batchSize: 8 } }),
    ];
    const { markdown } = page(runs);
    expect(markdown).toContain("| epochs | 3 |");
    expect(markdown).toContain("| batchSize | 4 (shared), 8 (recompute) |");
  });

  it("gives differences on the same items with what they show, also where sharing loses", () => {
    const runs = [
      run({ case: "hotpot", variant: "shared", gold: scores(10), chain: scores(5) }),
      run({ case: "hotpot", variant: "recompute", gold: scores(4), chain: scores(8) }),
      run({ case: "hotpot", variant: "naive", gold: scores(10) }),
      run({ case: "hotpot", variant: "recompute", seed: 2, gold: scores(100), chain: scores(100) }),
    ];
    const { markdown, pictures } = page(runs);
    expect(markdown).toContain("| shared - recompute | F1, whole chain | 1 | -3.0 (-3.0 to -3.0) | worse |");
    expect(markdown).toContain("| shared - recompute | F1, gold texts | 1 | 6.0 (6.0 to 6.0) | better |");
    expect(markdown).toContain(
      "| shared - naive | F1, gold texts | 1 | 0.0 (0.0 to 0.0) | no difference shown |",
    );
    expect(markdown).not.toContain("| shared - base |");
    const bars = pictures.get("hotpot.svg") ?? "";
    expect(bars).toContain("<title>shared: 5.0 (5.0 to 5.0)</title>");
    expect(bars.match(/<rect x="170"/g)).toHaveLength(2 + 2 + 3 + 3);
  });

  it("draws the loss of runs that have one", () => {
    const losses = Array.from({ length: 6 }, (_, at) => 5 - at / 2);
    const { markdown, pictures } = page([run({ losses })]);
    expect(markdown).toContain("(quality/reference-shared-1.svg)");
    const svg = pictures.get("reference-shared-1.svg") ?? "";
    expect(svg).toContain("dev loss after step 6: 2.5");
    expect(svg).toContain("training loss");
  });
});

describe("the comparison with the independent implementation", () => {
  it("is of the mean over seeds, with the bounds of each moment", () => {
    const seeds = [2.4, 2.55].map((last, at) =>
      run({
        seed: at + 1,
        evaluations: [4.16, 2.75, 2.7, last].map((devLoss, epoch) => ({ epoch, devLoss })),
      }),
    );
    const { report, markdown } = page(seeds);
    const found = compareWithReference(report);
    expect(found.map(({ at, bySeed, within }) => [at, bySeed.length, within])).toEqual([
      ["before training", 2, true],
      ["after epoch 1", 2, true],
      ["after epoch 2", 2, false],
      ["after epoch 3", 2, true],
    ]);
    expect(found[3]?.ours).toBeCloseTo(2.475, 9);
    expect(markdown).toContain("| shared | after epoch 2 | 2.700, 2.700 | 2.700 | 2.554 | 0.146 | NO |");
  });

  it("holds the loss before training to a hundredth", () => {
    const { report } = page([run({ evaluations: [{ epoch: 0, devLoss: 4.18 }] })]);
    expect(compareWithReference(report)[0]?.within).toBe(false);
  });
});

it("scales end at 1, 2 or 5 times a power of ten", () => {
  expect([0.7, 1, 13, 34, 51, 0].map(scaleTo)).toEqual([1, 1, 20, 50, 100, 1]);
});
