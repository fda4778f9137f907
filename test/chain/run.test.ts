// SPDX-License-Identifier: Apache-2.0
// Runs on a real engine: what is computed, what is read again, what is freed, and that sharing changes no bit.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { promptCacheOf } from "../../src/cache/prompt-cache.js";
import type { ChainEvent, Model, StageResult } from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import { loadTiny, passages, question, rowsOf, until } from "./tiny-model.js";

let model: Model;
beforeAll(async () => {
  model = await loadTiny();
});
afterAll(() => model.close());

const noClosers = { closers: ["<|endoftext|>"] };

/** compress -> answer; `passages` are compress's own. */
function twoStages(on = model) {
  return defineChain(on)
    .input("question")
    .input("passages")
    .stage("compress", { prompt: { text: "Shorten." }, own: ["passages"], maxTokens: 12, ...noClosers })
    .stage("answer", { prompt: { text: "Answer it." }, opener: "Answer:", maxTokens: 8, ...noClosers });
}

async function eventsOf<S extends string>(run: AsyncIterable<ChainEvent<S>>): Promise<ChainEvent<S>[]> {
  const events: ChainEvent<S>[] = [];
  for await (const event of run) events.push(event);
  return events;
}

const outputs = (results: Record<string, StageResult>) =>
  Object.fromEntries(
    Object.entries(results).map(([name, { text, tokens, reason }]) => [name, { text, tokens, reason }]),
  );

describe("two stages", () => {
  test("events, texts and usage agree with each other and with the rows there are", async () => {
    const run = twoStages().run({ question, passages });
    const events = await eventsOf(run);
    const { compress, answer } = await run.result;

    expect(events.filter((one) => one.type.startsWith("stage-")).map((one) => [one.type, one.stage])).toEqual(
      [
        ["stage-start", "compress"],
        ["stage-end", "compress"],
        ["stage-start", "answer"],
        ["stage-end", "answer"],
      ],
    );
    for (const [stage, { text, tokens }] of Object.entries({ compress, answer })) {
      const deltas = events.flatMap((one) =>
        one.type === "text-delta" && one.stage === stage ? [one.text] : [],
      );
      expect(deltas.join("")).toBe(text);
      const whole = model.tokenizer.decode(tokens);
      expect(text).toBe(whole.startsWith(" ") ? whole.slice(1) : whole);
    }

    const q = rowsOf(model, question);
    const p = rowsOf(model, passages);
    const promptB = rowsOf(model, "Answer it.");
    const opener = rowsOf(model, "Answer:", true);
    // the last of 12 tokens is no row until the next stage feeds it; of the last stage's 8, the last never is
    expect(compress.usage).toMatchObject({
      tokens: 12,
      rowsComputed: rowsOf(model, "Shorten.") + q + p + 11,
    });
    expect(compress.usage.rowsReused).toBe(0);
    expect(answer.usage).toMatchObject({
      tokens: 8,
      rowsComputed: promptB + 1 + opener + 7,
      rowsReused: q + 11,
    });
    expect(answer.usage.kvBytes).toBeGreaterThan(0);
    expect(compress.usage.timeToFirstTokenMs).toBeGreaterThan(0);

    const hits = events.flatMap((one) =>
      one.type === "cache-hit" ? [[one.stage, one.segment, one.rows]] : [],
    );
    expect(hits).toEqual(
      expect.arrayContaining([
        ["answer", "question", q],
        ["answer", "compress", 11],
      ]),
    );
  });

  test("a prompt's KV is computed once per model, whatever chain or run reads it", async () => {
    const chain = () =>
      defineChain(model)
        .input("question")
        .stage("s", { prompt: { text: "Only once." }, maxTokens: 2 });
    const rows = rowsOf(model, "Only once.");
    const [first, second, third] = [
      await chain().run({ question }).result,
      await chain().run({ question }).result,
      await chain().run({ question: passages }).result,
    ];
    const q = rowsOf(model, question);
    expect(first.s.usage.rowsReused).toBe(0);
    expect(second.s.usage.rowsReused).toBe(rows);
    expect(third.s.usage.rowsReused).toBe(rows);
    expect(first.s.usage.rowsComputed - second.s.usage.rowsComputed).toBe(rows);
    expect(second.s.usage.rowsComputed).toBeGreaterThanOrEqual(q);
    expect(outputs(second)).toEqual(outputs(first));
  });

  test("runs at once give the same bits as runs alone", async () => {
    const chain = twoStages();
    const inputs = Array.from({ length: 6 }, (_, i) => ({
      question: `${question} ${i}`,
      passages: passages.slice(i * 7),
    }));
    const alone = [];
    for (const one of inputs) alone.push(outputs(await chain.run(one).result));
    const together = await Promise.all(inputs.map((one) => chain.run(one).result));
    expect(together.map(outputs)).toEqual(alone);
  });

  test("adding a stage or a private input moves nothing", async () => {
    const base = defineChain(model)
      .input("question")
      .stage("answer", { reads: ["question"], maxTokens: 10 });
    const more = defineChain(model)
      .input("question")
      .input("passages")
      .stage("compress", { own: ["passages"], maxTokens: 5 })
      .stage("answer", { reads: ["question"], maxTokens: 10 });
    const { answer } = await base.run({ question }).result;
    const other = await more.run({ question, passages }).result;
    expect(other.answer.tokens).toEqual(answer.tokens);
  });

  test("the concatenated layout runs too, and places rows elsewhere", async () => {
    // A random model may close an output at any token, another one with each instruction set.
    const closer = model.tokenizer.specialId("<|endoftext|>") as number;
    const whole = { maxTokens: 20, ...noClosers, logitBias: { [closer]: Number.NEGATIVE_INFINITY } };
    const chain = (layout: "contiguous" | "concatenated") =>
      defineChain(model, { layout })
        .input("question")
        .input("passages")
        .stage("a", { prompt: { text: "Shorten." }, own: ["passages"], ...whole })
        .stage("b", { prompt: { text: "Answer it." }, ...whole });
    const contiguous = await chain("contiguous").run({ question, passages }).result;
    const concatenated = await chain("concatenated").run({ question, passages }).result;
    expect(concatenated.b.usage.tokens).toBe(20);
    expect(concatenated.b.tokens).not.toEqual(contiguous.b.tokens);
  });
});

describe("release", () => {
  test("what no later step reads goes as soon as the last token of its reader is fed", async () => {
    const fresh = await loadTiny();
    const held: number[] = [];
    // the engine's thread lets go of its own references a little later
    const count = async (expected: number) => {
      await until(() => fresh.stats().segments === expected);
      held.push(fresh.stats().segments);
      return "go on";
    };
    const chain = defineChain(fresh)
      .input("question")
      .input("passages")
      .stage("a", { own: ["passages"], maxTokens: 4, ...noClosers })
      .input("feed", { alone: true, from: () => "go on" })
      .input("afterA", { from: () => count(1) })
      .stage("b", { reads: ["a", "feed"], maxTokens: 4, ...noClosers })
      .input("feedAgain", { from: () => "go on" })
      .input("afterB", { from: () => count(1) })
      .stage("c", { reads: ["b"], maxTokens: 4, ...noClosers });
    try {
      await chain.run({ question, passages }).result;
      await count(0);
      expect(held).toEqual([1, 1, 0]); // a alone, b alone, nothing
      expect(fresh.stats().usedBytes).toBe(0);
    } finally {
      await fresh.close();
    }
  });

  test("an input that nobody reads is never computed", async () => {
    const chain = defineChain(model)
      .input("question")
      .input("unread")
      .stage("s", { reads: ["question"], maxTokens: 1 });
    const { s } = await chain.run({ question, unread: passages }).result;
    expect(s.usage.rowsComputed).toBe(rowsOf(model, question) + 1);
  });

  test("unused prompts make room for a run", async () => {
    const info = model.info;
    const small = await loadTiny({ cacheBytes: info.blockBytes * 6 });
    try {
      const run = (text: string) =>
        defineChain(small).input("question").stage("s", { prompt: { text }, maxTokens: 1 }).run({ question })
          .result;
      for (let n = 0; n < 12; n++) await run(`Prompt number ${n}.`);
      expect(promptCacheOf(small).size).toBeLessThan(6);
    } finally {
      await small.close();
    }
  });
});

describe("stages", () => {
  test("without opener start from their own inputs; with neither from BOS", async () => {
    const chain = defineChain(model)
      .input("mine")
      .stage("a", { own: ["mine"], maxTokens: 1, lead: "" })
      .stage("b", { reads: [], maxTokens: 1, lead: "" });
    const { a, b } = await chain.run({ mine: question }).result;
    expect(a.usage.rowsComputed).toBe(rowsOf(model, question));
    expect(b.usage.rowsComputed).toBe(1);
    const { segments } = await chain.explain({ mine: question });
    const openers = Object.fromEntries(
      segments.flatMap((one) => (one.opener ? [[one.segment, one.opener]] : [])),
    );
    expect(openers).toEqual({ a: [], b: ["<|im_start|>"] });
  });

  test("values stay plain text while formats name special tokens", async () => {
    const chain = defineChain(model)
      .input("q", { format: "<|im_start|>user\n{q}<|im_end|>" })
      .stage("s", { maxTokens: 1 });
    for (const q of ["hello", "<|im_end|>", "|im_start|>"]) {
      const { s } = await chain.run({ q }).result;
      // two special tokens, the text between them as one run of plain text, and the opener
      expect(s.usage.rowsComputed).toBe(2 + rowsOf(model, `user\n${q}`) + 1);
    }
    const sly = defineChain(model).input("q", { format: "<|im_{q}" }).stage("s", { maxTokens: 1 });
    const { s } = await sly.run({ q: "end|>" }).result;
    expect(s.usage.rowsComputed).toBe(rowsOf(model, "<|im_end|>") + 1);
  });

  test("closers, stop strings and maxTokens end an output", async () => {
    const base = defineChain(model).input("question");
    const long = await base.stage("s", { maxTokens: 24, lead: "", ...noClosers }).run({ question }).result;
    expect(long.s).toMatchObject({ reason: "length" });
    const { text } = long.s;
    // whole characters of three bytes at least, across tokens
    const stop = /[\x20-\x7e]{3}/.exec(text.slice(4))?.[0] as string;
    expect(stop).toHaveLength(3);
    const stopped = await base.stage("s", { maxTokens: 24, lead: "", stop, ...noClosers }).run({ question })
      .result;
    expect(stopped.s.reason).toBe("stop");
    expect(stopped.s.text).toBe(text.slice(0, text.indexOf(stop)));
  });

  test("the same seed gives the same text, another seed another", async () => {
    const chain = (seed: number) =>
      defineChain(model)
        .input("question")
        .stage("s", { temperature: 1.5, topK: 40, seed, maxTokens: 16, ...noClosers });
    const [a, again, b] = [
      await chain(1).run({ question }).result,
      await chain(1).run({ question }).result,
      await chain(2).run({ question }).result,
    ];
    expect(again.s.tokens).toEqual(a.s.tokens);
    expect(b.s.tokens).not.toEqual(a.s.tokens);
  });

  test("an output is cut where the context ends", async () => {
    const { s } = await defineChain(model)
      .input("question")
      .stage("s", { maxTokens: 100_000, ...noClosers })
      .run({ question }).result;
    expect(s.reason).toBe("length");
    expect(s.usage.tokens).toBe(model.info.contextLength - rowsOf(model, question) - 1);
  });
});

describe("from", () => {
  test("gets what was declared before, and runs after it", async () => {
    let calls = 0;
    const chain = defineChain(model)
      .input("question")
      .stage("rewrite", { maxTokens: 6, ...noClosers })
      .input("found", {
        from: async (results, { signal }) => {
          calls += 1;
          expect(Object.keys(results).sort()).toEqual(["question", "rewrite"]);
          expect(results.question.text).toBe(question);
          expect(results.rewrite.usage.tokens).toBe(6);
          expect(signal.aborted).toBe(false);
          return passages;
        },
      })
      .stage("answer", { maxTokens: 6, ...noClosers });
    const run = chain.run({ question });
    // the last token of rewrite was fed while `from` ran: every row of it is there
    const { answer } = await run.result;
    expect(calls).toBe(1);
    const opener = 1;
    expect(answer.usage.rowsReused).toBe(rowsOf(model, question) + opener + 6);
  });

  test("changes no bit: the owed token fed at once or with the next stage", async () => {
    const head = () =>
      defineChain(model)
        .input("question")
        .stage("a", { maxTokens: 6, ...noClosers });
    const given = await head()
      .input("extra")
      .stage("b", { maxTokens: 12, ...noClosers })
      .run({ question, extra: passages }).result;
    const computed = await head()
      .input("extra", { from: () => passages })
      .stage("b", { maxTokens: 12, ...noClosers })
      .run({ question }).result;
    expect(outputs(computed)).toEqual(outputs(given));
  });
});

describe("explain", () => {
  test("keeps unknown lengths as symbols and puts numbers for what is given", async () => {
    const chain = twoStages();
    const unknown = await chain.explain();
    const b = (list: typeof unknown) => list.segments.find((one) => one.segment === "answer");
    expect(b(unknown)?.reads.map((one) => [one.segment, one.at.text, one.shift.text])).toEqual([
      ["prompt of answer", `-${rowsOf(model, "Answer it.")}`, "0"],
      ["question", "0", "0"],
      ["compress", "|question|", "-|passages|"],
    ]);
    expect(b(unknown)?.start.text).toBe("|question| + |compress|");
    const known = await chain.explain({ question, passages });
    const q = rowsOf(model, question);
    expect(b(known)?.reads[2]).toMatchObject({
      at: { constant: q, terms: {} },
      shift: { constant: -rowsOf(model, passages), terms: {} },
    });
    expect(b(known)?.start).toMatchObject({ constant: q, terms: { compress: 1 } });
    expect(String(known).split("\n")[0]).toBe("layout: contiguous");
    expect(String(known)).toContain(`compress (${q}, -${rowsOf(model, passages)})`);
  });
});
