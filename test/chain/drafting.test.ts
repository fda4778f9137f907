// SPDX-License-Identifier: Apache-2.0
// Drafting as users meet it: the same result from every stage, handle and event, in fewer turns. What the engine
// guarantees for any program is in test/native/engine/drafting_test.cpp.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Drafting, Model } from "../../src/index.js";
import { defineChain, loadModel } from "../../src/index.js";
import { failure } from "./failure.js";
import { loadTiny, tinyPath } from "./tiny-model.js";

const passages = [
  "Marsk is a harbour town of nine thousand people. Its harbour freezes for eleven weeks a year.",
  "The lighthouse on Ferry Rock was built in 1871 by the engineer Ada Lindqvist. In 1987 it was moved forty metres " +
    "inland on rails, because the cliff below it was crumbling.",
  "The town museum keeps the old lamp of the lighthouse. It is open from Tuesday to Saturday.",
].join("\n");

const toAssistant = "<|im_end|>\n<|im_start|>assistant\n";

describe("SmolLM2", () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel("smollm2-135m-instruct", { threads: 2, batchInvariant: true, indexBytes: 0 });
    await compressed("off", { maxTokens: 1 }).result; // now the prompt's KV is there for every run
  }, 300_000);
  afterAll(() => model?.close());

  const compressed = (drafting: Drafting | undefined, sampling: object) =>
    defineChain(model)
      .input("passages", { format: "<|im_start|>user\nText:\n{passages}\n\n" })
      .stage("compress", {
        prompt: { text: "Find the facts." },
        opener: `Quote the sentences of the text about the lighthouse, word for word.${toAssistant}`,
        maxTokens: 72,
        logprobs: 1,
        ...sampling,
        ...(drafting === undefined ? {} : { drafting }),
      })
      .stage("answer", {
        reads: ["passages", "compress"],
        opener: `<|im_end|>\n<|im_start|>user\nWho built it, and when was it moved?${toAssistant}`,
        maxTokens: 40,
        ...(drafting === undefined ? {} : { drafting }),
      })
      .run({ passages });

  test.each([
    ["greedy", {}],
    ["sampled", { temperature: 0.4, topP: 0.9, seed: 3 }],
    ["with penalties", { repetitionPenalty: 1.05, presencePenalty: 0.1 }],
    ["with a stop string", { stop: "crumbling" }],
  ])("a stage that quotes its passages says the same, drafted or not: %s", async (_, sampling) => {
    const off = await compressed("off", sampling).result;
    const before = model.activity();
    const drafted = await compressed(undefined, sampling).result; // auto is the default
    const after = model.activity();
    expect(drafted.compress.tokens).toEqual(off.compress.tokens);
    expect(drafted.compress.text).toBe(off.compress.text);
    expect(drafted.compress.logprobs).toEqual(off.compress.logprobs);
    expect(drafted.compress.closing).toEqual(off.compress.closing);
    expect(drafted.compress.reason).toBe(off.compress.reason);
    expect(drafted.answer.tokens).toEqual(off.answer.tokens);
    for (const stage of ["compress", "answer"] as const) {
      const { tokens, rowsComputed, rowsReused, kvBytes } = off[stage].usage;
      expect(drafted[stage].usage).toMatchObject({ tokens, rowsComputed, rowsReused, kvBytes });
      expect(off[stage].usage).toMatchObject({ draftedTokens: 0, acceptedTokens: 0 });
    }
    const { draftedTokens, acceptedTokens } = drafted.compress.usage;
    expect(acceptedTokens).toBeGreaterThan(0);
    expect(draftedTokens).toBeGreaterThanOrEqual(acceptedTokens);
    const all = acceptedTokens + drafted.answer.usage.acceptedTokens;
    expect(after.acceptedTokens - before.acceptedTokens).toBe(all);
  });
});

describe("options", () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadTiny({ drafting: "off" });
  });
  afterAll(() => model.close());

  test("a model loaded without drafting drafts where a stage or a call asks for it", async () => {
    const text = "abcabcabcabcabcabcabc";
    const run = (drafting?: Drafting) =>
      defineChain(model)
        .input("text")
        .stage("one", { opener: "a", maxTokens: 60, ...(drafting && { drafting }) })
        .run({ text }).result;
    const [plain, drafted] = [await run(), await run("auto")];
    expect(plain.one.usage.draftedTokens).toBe(0);
    expect(drafted.one.usage.draftedTokens).toBeGreaterThan(0);
    expect(drafted.one.tokens).toEqual(plain.one.tokens);
    const handle = model.cache.open();
    await handle.append(text);
    const forks = [handle.fork(), handle.fork()];
    const generated = await Promise.all([
      forks[0]?.generate({ maxTokens: 60 }).result,
      forks[1]?.generate({ maxTokens: 60, drafting: "auto" }).result,
    ]);
    expect(generated[0]?.usage.draftedTokens).toBe(0);
    expect(generated[1]?.usage.draftedTokens).toBeGreaterThan(0);
    expect(generated[1]?.tokens).toEqual(generated[0]?.tokens);
  });

  test("what is no mode is refused by name, wherever it stands", async () => {
    const wrong = "always" as Drafting;
    const expected = { code: "OPTION_INVALID", facts: { option: "drafting" } };
    expect(await failure(loadModel(tinyPath, { drafting: wrong }))).toMatchObject(expected);
    expect(() => defineChain(model).stage("one", { drafting: wrong })).toThrow(/"auto" or "off"/);
    const handle = model.cache.open();
    await handle.append("abc");
    expect(await failure(handle.generate({ drafting: wrong }).result)).toMatchObject(expected);
  });
});
