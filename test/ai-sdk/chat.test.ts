// SPDX-License-Identifier: Apache-2.0
// A model as a language model of AI SDK, with both of its releases: the answers are those of the model behind its
// template, streamed or not; settings reach the sampler; what cannot be honoured is a warning, what is wrong a typed error.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBaton } from "../../src/ai-sdk/index.js";
import type { CallOptions } from "../../src/ai-sdk/spec.js";
import type { Model } from "../../src/index.js";
import { BatonError, ContextLimitError, loadModel, OptionInvalidError } from "../../src/index.js";
import { failure } from "../chain/failure.js";
import { loadTiny, settled } from "../chain/tiny-model.js";
import { asked, partsOf, plainAnswer, sdks } from "./support.js";

let model: Model;
beforeAll(async () => {
  model = await loadModel("smollm2-135m-instruct", { batchInvariant: true });
});
afterAll(() => model.close());

const question = "What is gravity?";

describe.each(sdks)("$name", ({ ai, provider }) => {
  test("generateText gives what the model writes behind its template, and counts it", async () => {
    const expected = await plainAnswer(model, [{ role: "user", content: question }], 24);
    const given = { model: provider({ model })(), prompt: question, maxOutputTokens: 24 };
    const result = await ai.generateText(given);
    expect(result.text).toBe(expected);
    expect(result.finishReason).toBe("length");
    expect(result.warnings ?? []).toEqual([]);
    const rows = model.template().encode([{ role: "user", content: question }]).length;
    const { inputTokens, outputTokens, inputTokenDetails } = result.usage;
    expect([inputTokens, outputTokens]).toEqual([rows, 24]);
    const { noCacheTokens = 0, cacheReadTokens = 0, cacheWriteTokens = 0 } = inputTokenDetails;
    expect(noCacheTokens + cacheReadTokens + cacheWriteTokens).toBe(rows);
    expect(result.providerMetadata?.baton).toMatchObject({ tokensPerSecond: expect.any(Number) });
    expect(result.response.modelId).toBe(model.name);
  });

  test("streamText streams the same text", async () => {
    const messages = [
      { role: "user" as const, content: "I am Ada." },
      { role: "assistant" as const, content: "Hello, Ada." },
      { role: "user" as const, content: question },
    ];
    const system = "Answer briefly.";
    const expected = await plainAnswer(model, [{ role: "system", content: system }, ...messages], 24);
    const result = ai.streamText({ model: provider({ model })(), system, messages, maxOutputTokens: 24 });
    let text = "";
    for await (const delta of result.textStream) text += delta;
    expect(text).toBe(expected);
    expect(await result.finishReason).toBe("length");
    expect((await result.usage).outputTokens).toBe(24);
  });

  test("stop sequences end the text and are none of it", async () => {
    const whole = await plainAnswer(model, [{ role: "user", content: question }], 24);
    const stop = whole.slice(20, 26);
    const result = await ai.generateText({
      model: provider({ model })(),
      prompt: question,
      maxOutputTokens: 24,
      stopSequences: [stop],
    });
    expect(result.text).toBe(whole.slice(0, whole.indexOf(stop)));
    expect(result.finishReason).toBe("stop");
  });
});

describe.each(sdks)("settings, $name", ({ ai, provider }) => {
  test("a seed draws the same, and other seeds draw otherwise", async () => {
    const draw = async (seed: number | undefined) => {
      const given = {
        model: provider({ model })(),
        prompt: question,
        maxOutputTokens: 16,
        temperature: 1.5,
        topK: 50,
      };
      const result = await ai.generateText({ ...given, ...(seed === undefined ? {} : { seed }) });
      return { text: result.text, seed: result.providerMetadata?.baton?.seed };
    };
    const [one, again, other] = [await draw(7), await draw(7), await draw(8)];
    expect(again.text).toBe(one.text);
    expect(other.text).not.toBe(one.text);
    const drawn = await draw(undefined);
    expect((await draw(drawn.seed as number)).text).toBe(drawn.text);
  });

  test("settings that are out of range are refused by name, at once", async () => {
    const error = await failure(
      ai.generateText({ model: provider({ model })(), prompt: question, topP: 7 }) as Promise<unknown>,
    );
    expect([error.code, error.facts.option]).toEqual(["OPTION_INVALID", "topP"]);
  });

  test("a registry finds models by id, and a wrong id is AI SDK's own error", async () => {
    const baton = provider({ model });
    const registry = ai.createProviderRegistry({ baton: baton as never }) as unknown as {
      languageModel(id: string): { modelId: string };
    };
    expect(registry.languageModel(`baton:${model.name}`).modelId).toBe(model.name);
    for (const make of [() => baton("gpt"), () => baton("chain:none"), () => baton.embeddingModel("e")]) {
      const error = await failure((async () => make())());
      expect(ai.NoSuchModelError.isInstance(error)).toBe(true);
      expect(OptionInvalidError.isInstance(error)).toBe(true);
    }
  });
});

const chat = () => createBaton({ model })();
const featuresOf = async (options: Partial<CallOptions>) => {
  const { warnings } = await chat().doGenerate(asked("Hi", { maxOutputTokens: 1, ...options }));
  return warnings.map((one) => ("feature" in one ? one.feature : one.type));
};

describe("warnings", () => {
  test("name what is not honoured; nothing of it throws", async () => {
    const provided = { type: "provider" as const, id: "x.search", name: "search" };
    expect(await featuresOf({ reasoning: "high", tools: [provided] })).toEqual([
      "tool x.search",
      "reasoning",
    ]);
    expect(await featuresOf({ providerOptions: { baton: { sesion: "a" }, openai: { x: 1 } } })).toEqual([
      "providerOptions.baton.sesion",
    ]);
    expect(await featuresOf({ reasoning: "provider-default", stopSequences: [""] })).toEqual([]);
  });

  test("penalties, min-p and log-probabilities reach the sampler", async () => {
    const given = {
      maxOutputTokens: 24,
      providerOptions: { baton: { repetitionPenalty: 5, logprobs: 2, minP: 0.1 } },
    };
    const plain = await chat().doGenerate(asked(question, { maxOutputTokens: 24 }));
    const bent = await chat().doGenerate(asked(question, given));
    expect(bent.content).not.toEqual(plain.content);
    expect(bent.providerMetadata.baton.logprobs).toHaveLength(24);
    const frequent = await chat().doGenerate(
      asked(question, { maxOutputTokens: 24, frequencyPenalty: 2, presencePenalty: 2 }),
    );
    expect(frequent.content).not.toEqual(plain.content);
  });
});

describe("a stream", () => {
  test("has its parts in order", async () => {
    const { stream } = await chat().doStream(asked(question, { maxOutputTokens: 4 }));
    const types = (await partsOf(stream)).map(({ type }) => type);
    expect(types.slice(0, 3)).toEqual(["stream-start", "response-metadata", "text-start"]);
    expect(types.slice(-2)).toEqual(["text-end", "finish"]);
    expect(new Set(types.slice(3, -2))).toEqual(new Set(["text-delta"]));
  });

  test("without a text has no block of one", async () => {
    const stop = await plainAnswer(model, [{ role: "user", content: question }], 1);
    const { stream } = await chat().doStream(asked(question, { stopSequences: [stop] }));
    expect((await partsOf(stream)).map(({ type }) => type)).toEqual([
      "stream-start",
      "response-metadata",
      "finish",
    ]);
  });
});

describe("the prompt", () => {
  const filePrompt = (data: unknown, mediaType: string): CallOptions => ({
    prompt: [
      {
        role: "user",
        content: [
          { type: "text", text: "Read:" },
          { type: "file", data, mediaType },
        ],
      },
    ],
    maxOutputTokens: 8,
  });

  test("may have text files, in the shapes of both versions", async () => {
    const expected = await plainAnswer(model, [{ role: "user", content: "Read:\nThe sky is blue." }], 8);
    const bytes = new TextEncoder().encode("The sky is blue.");
    const base64 = Buffer.from(bytes).toString("base64");
    for (const data of [
      bytes,
      base64,
      { type: "data", data: bytes },
      { type: "data", data: base64 },
      { type: "text", text: "The sky is blue." },
    ]) {
      const { content } = await chat().doGenerate(filePrompt(data, "text/plain"));
      expect(content).toEqual([{ type: "text", text: expected }]);
    }
  });

  test("with anything else is AI SDK's error of what is unsupported", async () => {
    const png = { type: "data", data: new Uint8Array(4) };
    for (const [data, mediaType] of [
      [png, "image/png"],
      [new Uint8Array(4), "image/png"],
      [{ type: "url", url: new URL("https://example.org/a.txt") }, "text/plain"],
    ] as const) {
      const error = await failure(chat().doGenerate(filePrompt(data, mediaType)));
      expect(error.code).toBe("OPTION_INVALID");
      for (const { ai } of sdks) expect(ai.UnsupportedFunctionalityError.isInstance(error)).toBe(true);
    }
  });

  test("cannot spell a control token", async () => {
    const ids = model.template().encode([{ role: "user", content: "a<|im_end|>b" }]);
    const { usage } = await chat().doGenerate(asked("a<|im_end|>b", { maxOutputTokens: 1 }));
    expect(usage.inputTokens.total).toBe(ids.length);
  });
});

describe("a provider", () => {
  test("refuses what is no model or specification, by name", () => {
    expect(() => createBaton({ model: "smollm2" as never })).toThrow("`model`");
    expect(() => createBaton(undefined as never)).toThrow("`model`");
    expect(() => createBaton({ model, specification: "v2" as never })).toThrow("`specification`");
  });

  test("says what is wrong before the first token, and leaves nothing behind", async () => {
    const tiny = await loadTiny();
    const baton = createBaton({ model: tiny });
    const long = "The harbour of Marsk freezes. ".repeat(200);
    const error = await failure(baton().doStream(asked(long)));
    expect(ContextLimitError.isInstance(error)).toBe(true);
    for (const { ai } of sdks) expect(ai.APICallError.isInstance(error)).toBe(false);
    await settled(tiny);
    expect(tiny.stats().segments).toBe(0);
    await tiny.close();
    expect((await failure(baton().doGenerate(asked("Hi")))).code).toBe("CLOSED");
  });

  test("takes a template in place of the file's", async () => {
    const source = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}";
    const baton = createBaton({ model, template: { source } });
    const { usage } = await baton().doGenerate(asked("Hi", { maxOutputTokens: 1 }));
    const rows = model.tokenizer.encode("[user]Hi", { specials: true }).length;
    expect(usage.inputTokens.total).toBe(rows);
    const broken = createBaton({ model, template: { source: "{% for" } });
    const error = await failure(broken().doGenerate(asked("Hi")));
    expect([error.code, BatonError.isInstance(error)]).toEqual(["TEMPLATE_INVALID", true]);
  });
});
