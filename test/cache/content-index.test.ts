// SPDX-License-Identifier: Apache-2.0
// The content index as chains see it: what a second run does not compute, what the events say of it, and that the
// texts are those of a model without an index.

import { afterEach, describe, expect, test } from "vitest";
import type { ChainEvent, LoadOptions, Model, StageResult } from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import type { SegmentHandle } from "../../src/native/types.js";
import { loadTiny, passages, question, rowsOf, settled } from "../chain/tiny-model.js";
import { randomInts } from "../engine/program.js";
import { openTiny, run } from "../engine/support.js";
import { relativeL2Rows } from "../helpers/fixtures.js";

const noClosers = { closers: ["<|endoftext|>"] };
const open: Model[] = [];

async function load(options: LoadOptions = {}): Promise<Model> {
  const model = await loadTiny({ indexBytes: 4 << 20, ...options });
  open.push(model);
  return model;
}
afterEach(async () => {
  for (const model of open.splice(0)) await model.close();
});

interface Outcome {
  results: Record<string, StageResult>;
  hits: [string, number][];
  misses: [string, number, string][];
}

async function outcomeOf(run: AsyncIterable<ChainEvent> & { result: Promise<Record<string, StageResult>> }) {
  const outcome: Outcome = { results: {}, hits: [], misses: [] };
  for await (const event of run) {
    if (event.type === "cache-hit") outcome.hits.push([event.segment, event.rows]);
    if (event.type === "cache-miss") outcome.misses.push([event.segment, event.rows, event.reason]);
  }
  outcome.results = await run.result;
  return outcome;
}

const texts = (results: Record<string, StageResult>) =>
  Object.entries(results).map(([name, { text, tokens }]) => [name, text, tokens]);

/** A document that does not depend on the question, behind it. */
const withDocument = (model: Model, name = "s") =>
  defineChain(model)
    .input("question")
    .input("document", { alone: true })
    .stage(name, { maxTokens: 12, ...noClosers });

describe("the content index", () => {
  test("a second run computes no input again, and says so", async () => {
    const model = await load();
    const cold = await load({ indexBytes: 0 });
    const [q, d] = [rowsOf(model, question), rowsOf(model, passages)];
    const inputs = { question, document: passages };
    const wanted = texts(await withDocument(cold).run(inputs).result);
    const first = await outcomeOf(withDocument(model).run(inputs));
    expect(first.misses).toEqual([
      ["question", q, "never-seen"],
      ["document", d, "never-seen"],
    ]);
    expect(first.results.s?.usage).toMatchObject({ rowsComputed: q + d + 12, rowsReused: 0 });
    const second = await outcomeOf(withDocument(model, "other").run(inputs));
    expect(second.misses).toEqual([]);
    expect(second.hits).toEqual([
      ["question", q],
      ["document", d],
    ]);
    expect(second.results.other?.usage).toMatchObject({ rowsComputed: 12, rowsReused: q + d });
    expect(texts(first.results)).toEqual(wanted);
    expect(second.results.other?.tokens).toEqual(first.results.s?.tokens);
    await settled(model);
    expect(model.stats().usedBytes).toBe(0);
    expect(model.stats().blocksKept).toBeGreaterThan(0);
  });

  test("an input marked alone is found in another chain, at another place, for another question", async () => {
    const model = await load();
    const cold = await load({ indexBytes: 0 });
    await withDocument(model).run({ question, document: passages }).result;
    const elsewhere = (on: Model) =>
      defineChain(on)
        .input("preface")
        .input("ask")
        .input("passage", { alone: true })
        .stage("think", { prompt: { text: "Think of it." }, maxTokens: 9, ...noClosers })
        .stage("say", { own: ["ask"], maxTokens: 9, ...noClosers });
    const inputs = { preface: "A preface of some length.", ask: "Why on rails?", passage: passages };
    const warm = await outcomeOf(elsewhere(model).run(inputs));
    const d = rowsOf(model, passages);
    expect(warm.hits).toContainEqual(["passage", d]);
    expect(warm.misses.map(([segment]) => segment)).not.toContain("passage");
    expect(texts(warm.results)).toEqual(texts(await elsewhere(cold).run(inputs).result));
  });

  test("what is found and read by a shift equals K rewritten for its place", async () => {
    const engine = await openTiny("f32", { indexBytes: 4 << 20 });
    const [document, after] = [randomInts(5, 200, 512), randomInts(6, 24, 512)];
    const write = async (start: number) => {
      const segment = engine.createSegment({ kind: "input", start, reads: [] });
      const { stats } = await engine.run({
        appends: [{ segment, tokens: document, close: true }],
        logits: "none",
      });
      return { segment, found: stats.rowsFound };
    };
    const logitsAfter = async (segment: SegmentHandle, place: number, shift: number) => {
      const reads = [{ segment, rows: document.length, shift }];
      const reader = engine.createSegment({ kind: "output", start: place + document.length, reads });
      const { logits } = await run(engine, [{ segment: reader, content: after }]);
      engine.releaseSegment(reader);
      return { rows: after.length, columns: 512, data: logits };
    };
    engine.releaseSegment((await write(0)).segment);
    for (const place of [1, 77, 250]) {
      const again = await write(0);
      expect(again.found).toBe(document.length);
      const rewritten = await write(place); // every K rotated for the place where it is read
      expect(rewritten.found).toBe(0);
      const shifted = await logitsAfter(again.segment, place, place);
      const wanted = await logitsAfter(rewritten.segment, place, 0);
      expect(Math.max(...relativeL2Rows(shifted, wanted))).toBeLessThan(1e-4);
    }
    await engine.close();
  });

  test("a document that is not alone is another one behind another question", async () => {
    const model = await load();
    const chain = defineChain(model).input("question").input("document").stage("s", { maxTokens: 1 });
    await chain.run({ question, document: passages }).result;
    const other = await outcomeOf(chain.run({ question: "Something else?", document: passages }));
    expect(other.misses).toContainEqual(["document", rowsOf(model, passages), "different-frame"]);
    expect(other.hits).toEqual([]);
  });

  test("a longer and a shorter document share the blocks that they begin with", async () => {
    const model = await load();
    const cold = await load({ indexBytes: 0 });
    const chain = (on: Model) =>
      defineChain(on)
        .input("document", { alone: true })
        .stage("s", { maxTokens: 10, ...noClosers });
    const document = `${passages} ${passages} ${passages}`;
    const rows = rowsOf(model, document);
    await chain(model).run({ document }).result;
    for (const other of [
      `${document} And then it thawed.`,
      document.slice(0, 150),
      `${document}${document}`,
    ]) {
      const { results, hits } = await outcomeOf(chain(model).run({ document: other }));
      const [[segment, found]] = hits as [[string, number]];
      expect(segment).toBe("document");
      expect(found % 16).toBe(0);
      expect(found).toBeGreaterThan(Math.min(rows, rowsOf(model, other)) - 20);
      expect(texts(results)).toEqual(texts(await chain(cold).run({ document: other }).result));
    }
  });

  test("without a budget nothing is found, and the event names that", async () => {
    const model = await load({ indexBytes: 0 });
    await withDocument(model).run({ question, document: passages }).result;
    const again = await outcomeOf(withDocument(model).run({ question, document: passages }));
    expect(again.misses.map(([, , reason]) => reason)).toEqual(["index-off", "index-off"]);
    expect(again.hits).toEqual([]);
    await settled(model);
    expect(model.stats()).toMatchObject({ blocksKept: 0, usedBytes: 0 });
  });

  test("room is taken from what nobody reads; the miss says that it was given up", async () => {
    const { info } = await load();
    const model = await load({ cacheBytes: info.blockBytes * 24, indexBytes: info.blockBytes * 24 });
    const chain = defineChain(model).input("document", { alone: true }).stage("s", { maxTokens: 1 });
    await chain.run({ document: passages }).result;
    for (let turn = 0; turn < 8; turn++) {
      await chain.run({ document: `${turn} ${question} ${turn} ${passages}` }).result;
    }
    const again = await outcomeOf(chain.run({ document: passages }));
    expect(again.misses).toContainEqual(["document", rowsOf(model, passages), "evicted"]);
    const soon = await outcomeOf(chain.run({ document: passages }));
    expect(soon.misses).toEqual([]);
  });

  test("many runs at once read one copy of what they share", async () => {
    const model = await load();
    const stages = Array.from({ length: 8 }, (_, i) => `stage${i}`);
    const context = `${passages} ${passages}`;
    const options = { reads: ["context", "ask"], maxTokens: 3, ...noClosers };
    const chainOf = () => {
      const inputs = defineChain(model)
        .input("context" as string)
        .input("ask" as string);
      let chain = inputs.stage(stages[0] as string, options);
      for (const name of stages.slice(1)) chain = chain.stage(name, options);
      return chain;
    };
    await defineChain(model).input("context").stage("s", { maxTokens: 1 }).run({ context }).result;
    const rows = rowsOf(model, context);
    const runs = ["a", "b", "c", "d"].map((ask) =>
      outcomeOf(chainOf().run({ context, ask: `Branch ${ask}?` })),
    );
    const before = model.cache.stats();
    const outcomes = await Promise.all(runs);
    for (const { hits } of outcomes) {
      const ofContext = hits.filter(([segment]) => segment === "context");
      expect(ofContext).toEqual(stages.map(() => ["context", rows])); // 8 stages, the first one from the index
    }
    const after = model.cache.stats();
    const asks = ["a", "b", "c", "d"].reduce((sum, ask) => sum + rowsOf(model, `Branch ${ask}?`), 0);
    expect(after.rowsComputed - before.rowsComputed).toBe(asks + 4 * 8 * 3); // an opener and two tokens each
  });
});
