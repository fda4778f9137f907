// SPDX-License-Identifier: Apache-2.0
// The quality suite's logic: which runs a sitting makes, a file that is continued, the table of cases; and on the small
// model that scores come item by item in the data's order, from tune() and from whole chains.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Bench } from "../../bench/quality/bench.js";
import { answerOf, soFar, turnRecords } from "../../bench/quality/cases/comqa-turns.js";
import { cases } from "../../bench/quality/cases/index.js";
import type { Measured, QualityCase, Variant } from "../../bench/quality/contract.js";
import { namesOf, planRuns, runsLeft } from "../../bench/quality/plan.js";
import { machineName, openReport } from "../../bench/quality/report-file.js";
import { makeRuns } from "../../bench/quality/suite.js";
import type { TrainingBench } from "../../bench/quality/train.js";
import { measurePrompts, measureTraining } from "../../bench/quality/train.js";
import { runWholeChains } from "../../bench/quality/whole-chains.js";
import * as library from "../../src/index.js";
import { chainOf, dev, loadModelToTune, records, small } from "../tune/small-chain.js";
import { report as other } from "./samples.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "baton-quality-test-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const measured: Measured = { settings: {}, evaluations: [{ epoch: 0, devLoss: 2 }], kept: 0 };
const variant = (name: string, fields: Partial<Variant> = {}): Variant => ({
  name,
  about: name,
  measure: async () => measured,
  ...fields,
});
const caseOf = (id: string, variants: Variant[]): QualityCase => ({
  id,
  title: id,
  facts: () => ({}),
  variants,
});

const here = { machine: other([]).machine, model: "some.gguf", threads: 2 };
const signal = new AbortController().signal;
const bench = { init: { signal } } as unknown as Bench; // the variants of these tests ask nothing of it

describe("a sitting", () => {
  const first = caseOf("one", [variant("once", { once: true }), variant("each", { needs: ["once"] })]);
  const all = [first, caseOf("two", [variant("other")])];
  const shown = (runs: readonly { case: QualityCase; variant: Variant; seed: number }[]) =>
    runs.map((one) => `${one.case.id}/${one.variant.name} ${one.seed}`);

  it("goes seed by seed; what runs once runs with the first", () => {
    expect(shown(planRuns(all, [], [1, 2]))).toEqual([
      "one/once 1",
      "one/each 1",
      "two/other 1",
      "one/each 2",
      "two/other 2",
    ]);
    expect(shown(planRuns(all, ["one/each", "two"], [3]))).toEqual(["one/each 3", "two/other 3"]);
    expect(namesOf(all)).toEqual(["one", "one/once", "one/each", "two", "two/other"]);
  });

  it("refuses a run whose prompts would not be there", () => {
    const empty = openReport(path.join(folder, "none.json"), here);
    expect(() => runsLeft(planRuns(all, ["one/each"], [1]), empty)).toThrow(
      /one\/each with seed 1 takes the prompts of one\/once with seed 1/,
    );
    expect(runsLeft(planRuns(all, ["one"], [1]), empty)).toHaveLength(2);
  });

  it("writes its file after every run, and the next one goes on where it stopped", async () => {
    const json = path.join(folder, "quality.json");
    const made: string[] = [];
    let fails = true;
    const count = (name: string) => async (_: unknown, seed: number) => {
      if (name === "b" && fails) throw new Error("the machine goes down");
      made.push(`${name} ${seed}`);
      return measured;
    };
    const counted = [
      caseOf("c", [variant("a", { measure: count("a") }), variant("b", { measure: count("b") })]),
    ];
    const sit = async () => {
      const report = openReport(json, here);
      const sitting = { report, machine: machineName(here.machine), json, commit: "abc", bench };
      await makeRuns(runsLeft(planRuns(counted, [], [1, 2]), report), sitting);
    };
    await expect(sit()).rejects.toThrow("the machine goes down");
    expect(openReport(json, here).runs.map(({ variant: name, seed }) => `${name} ${seed}`)).toEqual(["a 1"]);
    fails = false;
    await sit();
    await sit();
    expect(made).toEqual(["a 1", "b 1", "a 2", "b 2"]);
    const elsewhere = { ...here.machine, cpuId: "6.9.9" };
    const { runs, machines } = openReport(json, { ...here, machine: elsewhere });
    expect(runs).toHaveLength(4);
    expect(runs[1]).toMatchObject({
      case: "c",
      variant: "b",
      seed: 1,
      commit: "abc",
      evaluations: [{ devLoss: 2 }],
    });
    expect(machines[runs[0]?.machine ?? ""]).toEqual(here.machine);
    expect(machines[machineName(elsewhere)]).toEqual(elsewhere); // where a later sitting goes on
    expect(readdirSync(folder)).toEqual(["quality.json"]);
  });

  it("refuses a file of another model, of another suite, and what is no JSON", async () => {
    const json = path.join(folder, "quality.json");
    const write = (value: unknown) => writeFileSync(json, JSON.stringify(value));
    const { model, threads } = here;
    write({ suite: "quality", machines: {}, model, threads, facts: {}, runs: [] });
    expect(() => openReport(json, { ...here, model: "other.gguf" })).toThrow(/some.gguf, this is other.gguf/);
    write(other([]));
    expect(() => openReport(json, here)).toThrow(/no file of the quality suite/);
    write({ suite: "quality", machines: {}, model, threads, facts: {}, runs: [{ case: "a" }] });
    expect(() => openReport(json, here)).toThrow(/runs\[0\]/);
    writeFileSync(json, "{");
    expect(() => openReport(json, here)).toThrow(/is not JSON/);
    expect(readFileSync(json, "utf8")).toBe("{");
  });
});

describe("the table of cases", () => {
  it("has names of its own, and what a variant needs stands before it", () => {
    const names = namesOf(cases);
    expect(new Set(names).size).toBe(names.length);
    for (const { variants } of cases) {
      for (const [at, { needs = [], about }] of variants.entries()) {
        const before = variants.slice(0, at).map(({ name }) => name);
        for (const one of needs) expect(before).toContain(one);
        expect(about).not.toBe("");
      }
    }
  });

  it("says what data a case lacks", () => {
    for (const one of cases) expect(() => one.facts(folder)).toThrow(/has no .*train\.jsonl/);
  });
});

describe("turns as texts", () => {
  it("stand behind each other as in the shared KV", () => {
    const rounds = [
      { stage: "reason", text: "r1" },
      { stage: "recall", text: "k1" },
      { stage: "reason", text: "r2" },
    ];
    const records = turnRecords([{ question: "q", rounds, answer: "A" }], "reason");
    expect(records).toEqual([
      { before: "q", turn: "r1" },
      { before: "q\n r1\n k1", turn: "r2" },
    ]);
    const ran = [{ reason: { text: "r1" }, lookup: { recall: { text: "k1" } } }];
    expect(soFar("q", ran)).toBe(records[1]?.before);
    expect(soFar("q", ran, "r2")).toBe("q\n r1\n k1\n r2");
    expect(soFar("q", [{ reason: { text: "r1" }, lookup: undefined }])).toBe("q\n r1");
  });

  it("name the option that they end on", () => {
    expect(answerOf("so it is. [The answer is]: B")).toBe("B");
    expect(answerOf("The answer is (C), because")).toBe("C");
    expect(answerOf("Answers are many")).toBeNull();
  });
});

describe("on the small model", () => {
  const open = async (): Promise<{ model: library.Model; on: TrainingBench }> => ({
    model: await loadModelToTune(),
    on: {
      library,
      init: { model: "", threads: 1, data: undefined, work: folder, signal, say: () => {} },
      frozenFolder: path.join(folder, "frozen"),
    },
  });
  const five = [...dev, ...records.slice(0, 3)];
  const options = {
    stages: small,
    data: records,
    dev: five,
    epochs: 2,
    batchSize: 2,
    learningRate: 0.05,
    seed: 3,
  } as const;

  it("a training is scored behind gold texts item by item, in order, and its prompts as they are score the same", async () => {
    const { model, on } = await open();
    const chain = chainOf(model);
    const run = { chain, scored: "answer", label: "small", output: path.join(folder, "prompts"), options };
    const trained = await measureTraining(on, { ...run, options: { ...options, keep: "last" } });
    expect(trained.evaluations.map(({ epoch }) => epoch)).toEqual([0, 1, 2]);
    expect(trained.kept).toBe(2);
    expect(trained.losses).toHaveLength(6);
    expect(trained.gold?.f1).toHaveLength(5);
    expect(trained.rows?.live).toBeGreaterThan(0);
    const mean = (values: readonly number[]) => values.reduce((sum, one) => sum + one, 0) / values.length;
    expect(mean(trained.gold?.f1 ?? [])).toBeCloseTo(trained.evaluations[2]?.f1 ?? -1, 9);

    const stages = { answer: { init: { checkpoint: path.join(folder, "prompts", "answer") } } };
    const again = await measurePrompts(on, { ...run, options: { ...options, stages } });
    expect(again.gold).toEqual(trained.gold);
    expect(again.evaluations).toHaveLength(1);
    expect(again.evaluations[0]?.devLoss).toBeCloseTo(trained.evaluations[2]?.devLoss ?? -1, 5);
    // one item at a time gives the item's own score, wherever it stands
    const last = await measurePrompts(on, { ...run, options: { ...options, stages, dev: five.slice(4) } });
    expect(last.gold?.f1[0]).toBe(trained.gold?.f1[4]);
    await model.close();
  });

  it("whole chains are scored in the order of their items and counted from their events", async () => {
    const { model, on } = await open();
    const chain = chainOf(model).withPrompts({ answer: { text: "Answer." } });
    const lengths: number[] = [];
    const whole = await runWholeChains(on, {
      chain,
      items: five,
      inputsOf: ({ question, passages }) => ({ question, passages }),
      scoreOf: (item, outputs) => ({ exactMatch: five.indexOf(item), f1: (outputs.answer ?? "").length }),
      label: "small",
    });
    for (const { question, passages } of five)
      lengths.push((await chain.run({ question, passages }).result).answer.text.length);
    expect(whole.chain.exactMatch).toEqual([0, 1, 2, 3, 4]);
    expect(whole.chain.f1).toEqual(lengths);
    expect(whole.cost.rows).toBeGreaterThan(10);
    expect(whole.cost.kvBytes).toBeGreaterThan(0);
    await model.close();
  });
});
