// SPDX-License-Identifier: Apache-2.0
// Scores of outputs behind gold texts: the texts must be those of a run of the whole chain whose other outputs are forced
// to be the record's, token by token, which shares nothing with the training rows.
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GeneratedItem, Model, TuneOptions } from "../../src/index.js";
import { defineChain, tune } from "../../src/index.js";
import { loadTiny } from "../chain/tiny-model.js";
import type { Site } from "./small-chain.js";
import { base, chainOf, closers, dev, loadModelToTune, small } from "./small-chain.js";
import { failure } from "./support.js";

let model: Model;
beforeAll(async () => {
  model = await loadModelToTune();
});
afterAll(() => model.close());

/** Runs `work` with outputs given: of the job that generates as number `at`, with this seed; null: it is free. */
async function forcing<T>(
  textOf: (at: number, seed: number) => string | null,
  work: () => Promise<T>,
): Promise<T> {
  const run = model.engine.run;
  let jobs = 0;
  model.engine.run = function (job, listeners) {
    const { generate } = job;
    const text = generate === undefined ? null : textOf(jobs++, generate.sampler.seed);
    if (generate === undefined || text === null) return run.call(this, job, listeners);
    const tokens = model.tokenizer.encode(` ${text}`, { specials: false });
    const forced = Int32Array.from([...tokens, generate.closers[0] as number]);
    return run.call(this, { ...job, generate: { ...generate, maxTokens: forced.length, forced } }, listeners);
  };
  try {
    return await work();
  } finally {
    model.engine.run = run;
  }
}

/** Two stages that take turns, one with an input of its own. */
const roundsChain = () =>
  defineChain(model)
    .input("question")
    .rounds(
      "turns",
      (round) =>
        round
          .input("hint", { from: (_, { round: at }) => ["one", "two"][at] as string })
          .stage("think", { own: ["hint"], closers, maxTokens: 4 })
          .stage("say", { opener: "\n", closers, maxTokens: 4 }),
      { max: 2 },
    );

const tuneWith = (options: Partial<TuneOptions<Site>>) =>
  tune(chainOf(model), { ...base, stages: small, dev, epochs: 1, ...options });

describe("scoreFrom gold", () => {
  it("is what the stage writes in a run whose other outputs are the gold texts", async () => {
    const seen: GeneratedItem[] = [];
    const score = (item: GeneratedItem) => {
      seen.push(item);
      return item.outputs.answer?.length ?? 0;
    };
    const { prompts, evaluations } = await tuneWith({ score, scoreFrom: "gold", keep: "last" }).result;
    expect(evaluations).toHaveLength(2);
    expect(seen).toHaveLength(4);
    const after = seen.slice(2);
    expect(Object.keys(after[0]?.outputs ?? {})).toEqual(["answer"]);
    const marked = defineChain(model)
      .input("question", { format: "Question: {question}\n" })
      .input("passages")
      .stage("compress", { prompt: { text: "Shorten it." }, own: ["passages"], closers, seed: 77 })
      .stage("answer", {
        prompt: prompts.answer,
        reads: ["question", "compress"],
        opener: "Answer:",
        maxTokens: 5,
        closers,
      });
    for (const [at, { question, passages, compress }] of dev.entries()) {
      const results = await forcing(
        (_, seed) => (seed === 77 ? compress : null),
        () => marked.run({ question, passages }).result,
      );
      expect(results.compress.text).toBe(compress);
      expect(after.find(({ origin }) => origin === `dev[${at}]`)?.outputs.answer).toBe(results.answer.text);
    }
    expect(evaluations[1]?.scores.score).toBe(
      after.reduce((sum, { outputs }) => sum + (outputs.answer?.length ?? 0), 0) / 2,
    );
  });

  it("writes every output of stages that are trained together, each behind gold ones", async () => {
    const turns = [
      { hint: "one", think: "eleven", say: "Ada" },
      { hint: "two", think: "weeks", say: "Marsk" },
    ];
    const data = [{ question: "How long?", turns }];
    const seen: GeneratedItem[] = [];
    const { prompts } = await tune(roundsChain(), {
      stages: { "turns.think": { virtualTokens: 3 }, "turns.say": { virtualTokens: 4 } },
      data,
      dev: data,
      epochs: 1,
      keep: "last",
      score: (item) => {
        seen.push(item);
        return 0;
      },
      scoreFrom: "gold",
    }).result;
    const outputs = seen.at(-1)?.outputs ?? {};
    const names = ["turns[0].think", "turns[0].say", "turns[1].think", "turns[1].say"];
    expect(Object.keys(outputs)).toEqual(names);
    // one output is free in each run, the others are the gold texts
    const gold = ["eleven", "Ada", "weeks", "Marsk"];
    const served = roundsChain().withPrompts(prompts);
    for (const [free, name] of names.entries()) {
      const texts = await forcing(
        (at) => (at === free ? null : (gold[at] as string)),
        async () => {
          const written: Record<string, string> = {};
          for await (const event of served.run({ question: "How long?" }))
            if (event.type === "stage-end") written[event.stage] = event.text;
          return written;
        },
      );
      expect(texts[name]).toBe(outputs[name]);
      expect(Object.entries(texts).filter(([one]) => one !== name)).toEqual(
        names.map((one, at) => [one, gold[at]]).filter(([one]) => one !== name),
      );
    }
  });

  it("asks for no inputs that only unneeded rows read, and leaves nothing behind", async () => {
    const own = await loadTiny({ cacheBytes: 32 << 20 });
    const chain = defineChain(own)
      .input("question")
      .stage("answer", { prompt: { text: "Say." }, closers, maxTokens: 3 })
      .input("more")
      .stage("last", { closers });
    const data = [{ question: "Who?", answer: "Ada" }];
    const options = { stages: ["answer"], data, dev: data, epochs: 1, score: "squad" } as const;
    expect(await failure(tune(chain, options).result)).toMatchObject({ code: "DATA_INVALID" });
    const { evaluations } = await tune(chain, { ...options, scoreFrom: "gold" }).result;
    expect(Object.keys(evaluations[0]?.scores ?? {})).toEqual(["exactMatch", "f1"]);
    const { promptBlocks, inputBlocks, outputBlocks } = own.engine.census();
    expect([inputBlocks, outputBlocks]).toEqual([0, 0]);
    expect(promptBlocks).toBeLessThan(10);
    await own.close();
  });

  it("is refused under another name", async () => {
    const error = await failure(tuneWith({ score: "squad", scoreFrom: "air" as never }).result);
    expect(error).toMatchObject({ code: "OPTION_INVALID", facts: { option: "scoreFrom", value: "air" } });
  });
});

it("frozen rows are kept in the folder that tune() is given", async () => {
  const frozenFolder = mkdtempSync(join(tmpdir(), "baton-quality-"));
  try {
    await tuneWith({ frozenFolder, frozenDiskBytes: 1 << 20 }).result;
    expect(readdirSync(frozenFolder).length).toBeGreaterThan(6); // a file for each segment that answers read
  } finally {
    rmSync(frozenFolder, { recursive: true });
  }
});
