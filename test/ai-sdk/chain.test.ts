// SPDX-License-Identifier: Apache-2.0
// A chain as a language model: the user's message becomes an input, one stage the answer; the others are reasoning or
// metadata; its rows are counted, and settings that its stages have themselves are warnings.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBaton } from "../../src/ai-sdk/index.js";
import type { Message } from "../../src/ai-sdk/spec.js";
import type { Model } from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import { failure } from "../chain/failure.js";
import { loadTiny, passages, question, settled } from "../chain/tiny-model.js";
import { asked, partsOf, sdks } from "./support.js";

let model: Model;
beforeAll(async () => {
  model = await loadTiny();
});
afterAll(() => model.close());

const free = { closers: [], maxTokens: 6 };
const noteAndAnswer = () =>
  defineChain(model)
    .input("question")
    .input("passages")
    .stage("note", { own: ["passages"], ...free })
    .stage("answer", { reads: ["question", "note"], opener: "Answer:", ...free });

describe.each(sdks)("$name", ({ ai, provider }) => {
  test("generateText and streamText give the answer of a run, the note as reasoning", async () => {
    const chain = noteAndAnswer();
    const expected = await chain.run({ question, passages }).result;
    const how = { input: "question", inputs: { passages }, reasoning: true } as const;
    const given = { model: provider({ model }).chain(chain, how), prompt: question };
    const result = await ai.generateText(given);
    expect(result.text).toBe(expected.answer.text);
    expect(result.reasoningText).toBe(expected.note.text);
    expect(result.finishReason).toBe("length");
    expect(result.usage.outputTokenDetails).toMatchObject({ textTokens: 6, reasoningTokens: 6 });
    const streamed = ai.streamText(given);
    let text = "";
    for await (const delta of streamed.textStream) text += delta;
    expect(text).toBe(expected.answer.text);
    const stages = (await streamed.providerMetadata)?.baton?.stages;
    expect(stages).toMatchObject({ note: { text: expected.note.text }, answer: { reason: "length" } });
  });

  test("a provider has chains by name, and a call may name one", async () => {
    const chain = noteAndAnswer();
    const expected = await chain.run({ question, passages }).result;
    const baton = provider({
      model,
      chains: { support: { chain, input: "question", inputs: { passages } } },
    });
    const by = async (options: object) =>
      (await ai.generateText({ prompt: question, ...options } as never)).text;
    expect(await by({ model: baton("chain:support") })).toBe(expected.answer.text);
    expect(await by({ model: baton(), providerOptions: { baton: { chain: "support" } } })).toBe(
      expected.answer.text,
    );
    const other = { chain: "support", inputs: { passages: "The sea is deep." } };
    const changed = await chain.run({ question, passages: other.inputs.passages }).result;
    expect(await by({ model: baton(), providerOptions: { baton: other } })).toBe(changed.answer.text);
    const error = await failure(by({ model: baton(), providerOptions: { baton: { chain: "none" } } }));
    expect(ai.NoSuchModelError.isInstance(error)).toBe(true);
  });
});

describe("inputs", () => {
  const call = (settings: object, prompt: Message[], options: object = {}) =>
    createBaton({ model })
      .chain(noteAndAnswer(), settings)
      .doGenerate({ prompt, ...options });
  const user = (text: string): Message => ({ role: "user", content: [{ type: "text", text }] });

  test("come from a function of the conversation, too", async () => {
    const seen: unknown[] = [];
    const input = (conversation: unknown) => {
      seen.push(conversation);
      return { question, passages };
    };
    const prompt: Message[] = [
      { role: "system", content: "Be brief." },
      user("Hi"),
      { role: "assistant", content: [{ type: "text", text: "Hello." }] },
      user(question),
    ];
    const { warnings } = await call({ input }, prompt);
    expect(warnings).toEqual([]);
    expect(seen).toEqual([
      {
        text: question,
        messages: [
          { role: "system", text: "Be brief." },
          { role: "user", text: "Hi" },
          { role: "assistant", text: "Hello." },
          { role: "user", text: question },
        ],
      },
    ]);
    const named = await call({ inputs: { passages } }, prompt);
    expect(named.warnings).toEqual([expect.objectContaining({ type: "other" })]);
  });

  test("that are unclear, missing or empty are refused by name", async () => {
    const unclear = await failure(call({}, [user(question)]));
    expect([unclear.code, unclear.facts.option]).toEqual(["OPTION_INVALID", "input"]);
    expect((await failure(call({ input: "question" }, [user(question)]))).code).toBe("CHAIN_INVALID");
    expect((await failure(call({ input: "question", inputs: { passages } }, [user("")]))).code).toBe(
      "CHAIN_INVALID",
    );
    const baton = createBaton({ model });
    expect(() => baton.chain(noteAndAnswer(), { output: "none" as "note" })).toThrow('no stage "none"');
    const branches = defineChain(model)
      .input("text")
      .fanOut("votes", { samples: 2 }, (branch) => branch.stage("vote", free));
    expect(() => baton.chain(branches)).toThrow("outside of groups");
    expect(() => createBaton({ model, chains: { branches } })).toThrow("outside of groups");
  });
});

describe("a call", () => {
  const chain = () => createBaton({ model }).chain(noteAndAnswer(), { inputs: { passages } });

  test("warns of what its stages decide", async () => {
    const { warnings } = await chain().doGenerate(
      asked(question, {
        temperature: 1,
        maxOutputTokens: 3,
        stopSequences: ["x"],
        seed: 1,
        responseFormat: { type: "json" },
        tools: [{ type: "function", name: "weather", inputSchema: {} }],
        providerOptions: { baton: { session: "a", salt: "tenant" } },
      }),
    );
    const features = warnings.map((one) => ("feature" in one ? one.feature : one.type));
    expect(features.sort()).toEqual(
      [
        "maxOutputTokens",
        "providerOptions.baton.session",
        "responseFormat",
        "seed",
        "stopSequences",
        "temperature",
        "tools",
      ].sort(),
    );
    expect((await chain().doGenerate(asked(question, { stopSequences: [], tools: [] }))).warnings).toEqual(
      [],
    );
  });

  test("counts the rows that were read and those that were computed", async () => {
    const indexed = await loadTiny({ indexBytes: 4 << 20 });
    const one = defineChain(indexed)
      .input("text")
      .stage("answer", { ...free, prompt: { text: passages } });
    const baton = createBaton({ model: indexed }).chain(one);
    const first = await baton.doGenerate(asked(question));
    const { rowsComputed } = (await one.explain({ text: question })).segments.reduce(
      (sum, segment) => ({
        rowsComputed: sum.rowsComputed + (segment.kind === "output" ? 1 : (segment.rows ?? 0)),
      }),
      { rowsComputed: 0 },
    );
    expect(first.usage.inputTokens).toEqual({
      total: rowsComputed,
      noCache: rowsComputed,
      cacheRead: 0,
      cacheWrite: 0,
    });
    expect(first.usage.outputTokens).toEqual({ total: 6, text: 6, reasoning: 0 });
    const second = await baton.doGenerate(asked(question));
    expect(second.usage.inputTokens.total).toBe(rowsComputed);
    expect(second.usage.inputTokens.cacheRead).toBeGreaterThan(rowsComputed / 2);
    await indexed.close();
  });

  test("streams its parts in order, and a stream that is left ends the run", async () => {
    const { stream } = await chain().doStream(asked(question));
    const types = (await partsOf(stream)).map(({ type }) => type);
    expect([types[0], types[1], types[2]]).toEqual(["stream-start", "response-metadata", "text-start"]);
    expect(types.slice(-2)).toEqual(["text-end", "finish"]);
    const left = await chain().doStream(asked(question));
    await left.stream.cancel();
    await settled(model);
    expect(model.activity().runs).toBe(0);
    const stop = new AbortController();
    stop.abort();
    expect((await failure(chain().doStream(asked(question, { abortSignal: stop.signal })))).name).toBe(
      "AbortError",
    );
  });
});
