// SPDX-License-Identifier: Apache-2.0
// Every variant of every case runs from beginning to end, on the small model and a handful of made-up items: the chains
// fit the data, prompts are found by those that take them, whole chains and ablations run.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Bench } from "../../bench/quality/bench.js";
import { cases } from "../../bench/quality/cases/index.js";
import type { QualityReport } from "../../bench/quality/contract.js";
import { planRuns, runsLeft } from "../../bench/quality/plan.js";
import { makeRuns } from "../../bench/quality/suite.js";
import { summaryLines } from "../../bench/quality/summary.js";
import * as library from "../../src/index.js";
import { tinyPath } from "../chain/tiny-model.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "baton-quality-cases-"));
  const write = (set: string, items: readonly object[]) => {
    mkdirSync(path.join(folder, "data", set), { recursive: true });
    for (const split of ["train", "dev"])
      writeFileSync(
        path.join(folder, "data", set, `${split}.jsonl`),
        items.map((one) => `${JSON.stringify(one)}\n`).join(""),
      );
  };
  const facts = [
    ["Who?", "Ada built it.", "Ada did.", "Ada"],
    ["How long?", "It froze for weeks.", "weeks", "weeks"],
    ["Where?", "On Ferry Rock.", "Ferry Rock", "Ferry Rock"],
  ];
  write(
    "hotpot-compress-answer",
    facts.map(([question, passages, evidence, answer]) => ({ question, passages, evidence, answer })),
  );
  const reason = { stage: "reason", text: "[The answer is]: A" };
  const asked = { stage: "reason", text: "<reason>" };
  const recalled = { stage: "recall", text: "It is so." };
  write("comqa-recall-reason", [
    { question: "A or B?", rounds: [reason], answer: "A" },
    { question: "B or C?", rounds: [asked, recalled, reason], answer: "B" },
  ]);
});
afterAll(() => rmSync(folder, { recursive: true }));

it("every variant of every case leaves its figures", async () => {
  const bench = await Bench.create(
    {
      model: tinyPath,
      threads: 1,
      data: path.join(folder, "data"),
      work: path.join(folder, "work"),
      signal: new AbortController().signal,
      say: () => {},
    },
    library,
  );
  const report: QualityReport = {
    suite: "quality",
    machines: {},
    model: "tiny",
    threads: 1,
    facts: {},
    runs: [],
  };
  const planned = planRuns(cases, [], [2]);
  try {
    const json = path.join(folder, "quality.json");
    await makeRuns(runsLeft(planned, report), { report, machine: "some", json, commit: "abc", bench });
  } finally {
    await bench.close();
  }
  expect(report.runs).toHaveLength(planned.length);
  for (const { case: id, variant, evaluations, gold, chain, cost } of report.runs) {
    const name = `${id}/${variant}`;
    for (const { devLoss } of evaluations) expect(devLoss, name).toBeGreaterThan(0);
    expect(evaluations.length > 0 || variant === "base", name).toBe(true);
    expect(gold !== undefined || chain !== undefined, name).toBe(true);
    for (const scores of [gold, chain])
      for (const one of scores?.f1 ?? []) expect(Number.isFinite(one), name).toBe(true);
    if (chain !== undefined) expect(cost?.rows, name).toBeGreaterThan(0);
  }
  const lines = summaryLines(report, cases);
  expect(lines.filter((one) => one.includes("not measured"))).toEqual([]);
  expect(report.facts).toEqual({});
  expect(cases.map((one) => Object.keys(one.facts(path.join(folder, "data"))).length)).toEqual([6, 6, 7]);
}, 300_000);
