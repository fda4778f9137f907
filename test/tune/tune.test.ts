// SPDX-License-Identifier: Apache-2.0
// tune() on the small model and the real engine: losses fall, prompts come out that a chain and PEFT can use, a run goes
// on bit for bit, scores are of what the chain really writes, and everything wrong is said before the first step.
import { writeFileSync } from "node:fs";
import { readdir, rm, writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import type { Evaluation, GeneratedItem, ScoreFunction, TuneStep } from "../../src/index.js";
import { defineChain, tune } from "../../src/index.js";
import { base, closers, dev, lossesOf, records, small } from "./small-chain.js";
import { failure } from "./support.js";
import { tuningWorld } from "./world.js";

const { model, inFolder, chain, start, collect } = tuningWorld();

describe("a tuning", () => {
  it("makes the loss fall on what it learns, the base model and other prompts left as they are", async () => {
    const { steps, run } = await collect({ ...base, stages: small, epochs: 30, batchSize: 5, warmup: 0 });
    const { prompts, step, evaluations, stopped } = await run.result;
    expect(steps).toHaveLength(30);
    expect(steps.at(-1)?.loss).toBeLessThan((steps[0]?.loss as number) - 0.5);
    expect([step, evaluations, stopped]).toEqual([30, [], "end"]);
    expect(Object.keys(prompts)).toEqual(["answer"]);
    expect(prompts.answer).toMatchObject({ count: 6, folder: null });
    expect(prompts.answer.rows).toHaveLength(6 * model().info.hidden);
    // the same loss once more, by the frozen chain with the prompt that came out
    const again = await collect({
      ...base,
      stages: { answer: { init: { rows: prompts.answer.rows, count: 6 } } },
      batchSize: 5,
      epochs: 1,
    });
    expect(again.steps[0]?.loss).toBeLessThan(steps.at(-1)?.loss as number);
  });

  it("says what its steps compute: frozen rows once, live rows each time", async () => {
    const { steps } = await collect({ ...base, stages: small, epochs: 2, batchSize: 5 });
    expect(steps).toHaveLength(2);
    const [first, second] = steps as [TuneStep, TuneStep];
    expect(first.rows.frozen).toBeGreaterThan(first.rows.live);
    expect(first.rows.live).toBe(second.rows.live);
    expect(second.rows.reused).toBe(second.rows.frozen);
    expect(first.rows.computed).toBe(first.rows.live + 6);
    expect(second.rows.computed).toBe(second.rows.live + 6);
    const explanation = await tune.explain(chain(), { ...base, stages: small, batchSize: 5 });
    expect(explanation).toMatchObject({ items: 5, batchSize: 5, parameters: [{ stage: "answer", rows: 6 }] });
    expect(explanation.rows).toMatchObject({ live: first.rows.live, frozen: first.rows.frozen });
    expect(String(explanation)).toContain("prompt of answer");
  });

  it("is the same for the same seed", async () => {
    const one = await collect({ ...base, stages: small });
    const other = await collect({ ...base, stages: small });
    const another = await collect({ ...base, stages: small, seed: 4 });
    expect(lossesOf(other.steps)).toEqual(lossesOf(one.steps));
    expect(lossesOf(another.steps)).not.toEqual(lossesOf(one.steps));
    expect((await other.run.result).prompts).toEqual((await one.run.result).prompts);
  });

  it("trains several stages together, each into a folder of its own", async () => {
    const stages = { compress: { virtualTokens: 4 }, answer: { virtualTokens: 5, init: "random" as const } };
    const { steps, run } = await collect({
      ...base,
      stages,
      epochs: 20,
      batchSize: 5,
      warmup: 0,
      output: inFolder(),
    });
    const { prompts } = await run.result;
    expect(steps.at(-1)?.loss).toBeLessThan((steps[0]?.loss as number) - 0.3);
    expect(prompts.compress).toMatchObject({ count: 4, folder: inFolder("compress") });
    expect(prompts.answer).toMatchObject({ count: 5, folder: inFolder("answer") });
    expect((await readdir(inFolder())).sort()).toEqual(["answer", "compress"]);
    // each contract names the prompt of the other as it was trained with it
    const read = prompts.answer.contract.reads.find(({ kind }) => kind === "output");
    expect(read?.prompt).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe("a trained prompt", () => {
  it("is used by the chain without a warning, and with one by another", async () => {
    const output = inFolder("answer");
    const { run } = await collect({ ...base, stages: small, output });
    const { prompts } = await run.result;
    expect((await readdir(output)).sort()).toEqual([
      "adapter_config.json",
      "adapter_model.safetensors",
      "baton_contract.json",
    ]);
    const warnings = async (opener: string) => {
      const used = defineChain(model())
        .input("question", { format: "Question: {question}\n" })
        .input("passages")
        .stage("compress", { prompt: { text: "Shorten it." }, own: ["passages"], maxTokens: 5, closers })
        .stage("answer", { prompt: output, reads: ["question", "compress"], opener, maxTokens: 5, closers });
      const found: string[] = [];
      const going = used.run({ question: "Who?", passages: "Ada built it." });
      for await (const event of going) if (event.type === "warning") found.push(event.message);
      return { found, text: (await going.result).answer.text };
    };
    const right = await warnings("Answer:");
    expect(right.found).toEqual([]);
    expect((await warnings("Reply:")).found[0]).toContain("opener");
    // from memory it is the same prompt
    const memory = await chain()
      .withPrompts({ answer: prompts.answer })
      .run({ question: "Who?", passages: "Ada built it." }).result;
    expect(memory.answer.text).toBe(right.text);
  });
});

it("a frozen prompt that is used otherwise than it was trained is a warning of the tuning", async () => {
  const stages = { compress: { virtualTokens: 4 } };
  await collect({ ...base, stages, epochs: 1, output: inFolder() });
  const used = (opener: string) =>
    defineChain(model())
      .input("question", { format: "Question: {question}\n" })
      .input("passages")
      .stage("compress", { prompt: inFolder(), opener, own: ["passages"], closers })
      .stage("answer", { opener: "Answer:", closers });
  const warnings: string[] = [];
  const onWarning = (message: string) => warnings.push(message);
  await tune(used("Evidence:"), { ...base, stages: small, epochs: 1, onWarning }).result;
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toContain("opener");
});

describe("evaluation", () => {
  it("generates with the prompts of the moment, whatever the score", async () => {
    const seen: GeneratedItem[] = [];
    const score: ScoreFunction = (item) => {
      seen.push(item);
      return item.outputs.answer?.length ?? 0;
    };
    const { run } = await collect({ ...base, stages: small, dev, epochs: 2, score, keep: "last" });
    const { evaluations, prompts } = await run.result;
    expect(evaluations).toHaveLength(3);
    expect(seen).toHaveLength(6);
    const [first] = seen.filter(({ gold }) => gold.question === "Who?"); // records are generated several at once
    expect(first?.gold).toMatchObject({ question: "Who?", answer: "Ada" });
    expect(Object.keys(first?.outputs ?? {})).toEqual(["compress", "answer"]);
    expect(new Set(seen.map(({ origin }) => origin)).size).toBe(2);
    const last = evaluations.at(-1) as Evaluation;
    const texts = await Promise.all(
      dev.map(async ({ question, passages }) => {
        const tuned = chain().withPrompts({ answer: prompts.answer });
        return (await tuned.run({ question, passages }).result).answer.text;
      }),
    );
    expect(last.scores.score).toBeCloseTo(texts.reduce((sum, text) => sum + text.length, 0) / 2, 10);
  });

  it("has SQuAD's figures by name, of every stage that is scored", async () => {
    const one = await collect({ ...base, stages: small, dev, epochs: 1, score: "squad" });
    expect(Object.keys((await one.run.result).evaluations[0]?.scores ?? {})).toEqual(["exactMatch", "f1"]);
    const stages = { compress: {}, answer: {} };
    const two = await collect({ ...base, stages, dev, epochs: 1, score: "squad" });
    expect(Object.keys((await two.run.result).evaluations[0]?.scores ?? {})).toEqual([
      "compress.exactMatch",
      "compress.f1",
      "answer.exactMatch",
      "answer.f1",
    ]);
  });

  it("stops with STEP_FAILED when the score function throws or gives no number", async () => {
    const thrown = new Error("mine");
    const throwing = () => {
      throw thrown;
    };
    const first = await failure(start({ ...base, stages: small, dev, score: throwing }).result);
    expect(first).toMatchObject({ code: "STEP_FAILED", cause: thrown });
    const none = await failure(start({ ...base, stages: small, dev, score: () => Number.NaN }).result);
    expect(none).toMatchObject({ code: "STEP_FAILED", facts: { option: "score" } });
    expect((none as Error).message).toContain("dev[");
  });
});

describe("a tuning that goes on", () => {
  it("has bit for bit the losses of one that was never stopped", async () => {
    const checkpoint = inFolder("run.safetensors");
    const options = { ...base, stages: small, dev };
    const whole = await collect(options);
    for (const at of [1, 5, 9]) {
      const controller = new AbortController();
      const reason = new Error("enough");
      const run = start({ ...options, checkpoint, signal: controller.signal });
      const stopped = await failure(
        (async () => {
          for await (const { step } of run) if (step === at) controller.abort(reason);
        })(),
      );
      expect(stopped).toBe(reason);
      expect(await failure(run.result)).toBe(reason);
      const { run: resumed } = await collect({ ...options, checkpoint, resume: true });
      const result = await resumed.result;
      const expected = await whole.run.result;
      expect(result.resumedFrom).toBeGreaterThanOrEqual(at);
      expect(lossesOf(result.steps)).toEqual(lossesOf(whole.steps));
      expect(result.evaluations).toEqual(expected.evaluations);
      expect(result.prompts).toEqual(expected.prompts);
      await rm(checkpoint);
    }
  });

  it("refuses the checkpoint of another chain, other data or other rows, by name", async () => {
    const checkpoint = inFolder("run.safetensors");
    await collect({ ...base, stages: small, epochs: 1, checkpoint });
    const again = { ...base, stages: small, epochs: 2, checkpoint, resume: true };
    const fewer = await failure(start({ ...again, data: records.slice(0, 4) }).result);
    expect(fewer).toMatchObject({ code: "CHECKPOINT_INVALID", facts: { field: "data" } });
    const other = defineChain(model())
      .input("question")
      .input("passages")
      .stage("compress", { prompt: { text: "Shorten it." }, own: ["passages"] })
      .stage("answer", { reads: ["question", "compress"], opener: "Reply:" });
    const another = await failure(tune(other, again).result);
    expect(another).toMatchObject({ code: "CHECKPOINT_INVALID", facts: { field: "chain" } });
    const wider = { answer: { ...small.answer, virtualTokens: 7 } };
    expect(await failure(start({ ...again, stages: wider }).result)).toMatchObject({
      code: "CHECKPOINT_INVALID",
    });
    const warnings: string[] = [];
    const { result } = start({ ...again, onWarning: (message) => warnings.push(message) });
    expect((await result).resumedFrom).toBe(3);
    expect(warnings[0]).toContain("epochs was 1 and is 2");
  });

  it("stops at once when its reader leaves the loop, and frees what it held", async () => {
    const run = start({ ...base, stages: small, epochs: 1000 });
    for await (const { step } of run) if (step === 2) break;
    const error = await failure(run.result);
    expect((error as Error).name).toBe("AbortError");
    await model().activity();
    const { steps } = await collect({ ...base, stages: small, epochs: 1 });
    expect(steps).toHaveLength(3);
  });
});

it("a data file that changes between epochs ends the run; what was done is kept", async () => {
  const file = inFolder("train.jsonl");
  const lines = (all: readonly object[]) => all.map((one) => `${JSON.stringify(one)}\n`).join("");
  await writeFile(file, lines(records));
  const checkpoint = inFolder("run.safetensors");
  const options = { ...base, stages: small, data: file, checkpoint };
  const whole = await collect({ ...base, stages: small, data: file });
  const run = start(options);
  const error = await failure(
    (async () => {
      for await (const { step } of run) {
        if (step === 3) writeFileSync(file, lines([...records.slice(1), records[0] as object]));
      }
    })(),
  );
  expect(error).toMatchObject({ code: "DATA_CHANGED" });
  const other = await failure(start({ ...options, resume: true }).result);
  expect(other).toMatchObject({ code: "CHECKPOINT_INVALID", facts: { field: "data" } });
  await writeFile(file, lines(records));
  const { result } = start({ ...options, resume: true });
  expect((await result).resumedFrom).toBeGreaterThanOrEqual(3);
  expect(lossesOf((await result).steps)).toEqual(lossesOf(whole.steps));
});
