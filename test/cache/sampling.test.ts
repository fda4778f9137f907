// SPDX-License-Identifier: Apache-2.0
// A cache handle generates as a stage does: the same options, the same tokens, the same figures. On the small random
// model, and on the real one.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { GenerationOptions, Model, OutputOptions, TokenLogprob } from "../../src/index.js";
import { defineChain, loadModel } from "../../src/index.js";
import { loadTiny, question } from "../chain/tiny-model.js";

interface Output {
  text: string;
  tokens: readonly number[];
  reason: string;
  logprobs?: readonly TokenLogprob[];
  closing?: TokenLogprob;
}
const essence = ({ text, tokens, reason, logprobs, closing }: Output) => ({
  text,
  tokens,
  reason,
  logprobs,
  closing,
});

/** What a stage without a prompt writes behind the same rows. */
async function byStage(model: Model, opener: string, options: OutputOptions) {
  const chain = defineChain(model).stage("s", { opener, lead: "", ...options });
  return essence((await chain.run({}).result).s);
}

async function byHandle(model: Model, opener: string, options: GenerationOptions) {
  using handle = model.cache.open();
  await handle.append(opener, { specials: true });
  return essence(await handle.generate(options).result);
}

let tiny: Model;
beforeAll(async () => {
  tiny = await loadTiny();
});
afterAll(() => tiny.close());

const closers = ["<|endoftext|>"];
const spread = { temperature: 1.2, topK: 200, minP: 0.0001, closers, maxTokens: 40 };

describe("a handle's generate takes a stage's options", () => {
  const cases: [string, OutputOptions][] = [
    ["greedy", { closers, maxTokens: 20 }],
    ["a seed", { ...spread, seed: 77 }],
    ["presence and frequency penalties", { ...spread, presencePenalty: 2, frequencyPenalty: 1.5 }],
    ["negative penalties", { ...spread, presencePenalty: -2, frequencyPenalty: -2 }],
    ["a repetition penalty and topP", { ...spread, repetitionPenalty: 3, topP: 0.9 }],
    ["a bias", { ...spread, logitBias: { 321: 6, 12: -4, 50: Number.NEGATIVE_INFINITY } }],
    ["log-probabilities", { ...spread, seed: 3, logprobs: 4 }],
    ["everything", { ...spread, presencePenalty: 1, logitBias: { 321: 5 }, logprobs: 0, seed: 9 }],
  ];
  test.each(cases)("%s", async (_, options) => {
    const wanted = await byStage(tiny, question, options);
    expect(wanted.tokens).toHaveLength(options.maxTokens as number);
    expect(await byHandle(tiny, question, options)).toEqual(wanted);
    expect(wanted.logprobs?.length).toBe(options.logprobs === undefined ? undefined : wanted.tokens.length);
  });

  test("each option changes what is generated", async () => {
    const outputs = await Promise.all(cases.map(([, options]) => byHandle(tiny, question, options)));
    const sampled = outputs.slice(1).map(({ tokens }) => String(tokens));
    expect(new Set(sampled).size).toBe(sampled.length);
  });

  test("penalties look at this call's tokens only", async () => {
    using handle = tiny.cache.open();
    await handle.append(question);
    const [first] = (await handle.fork().generate({ closers, maxTokens: 1 }).result).tokens;
    await handle.append([first as number, first as number]);
    const next = async (options: GenerationOptions) =>
      (await handle.fork().generate({ closers, maxTokens: 1, ...options }).result).tokens;
    expect(await next({ presencePenalty: 2, frequencyPenalty: 2, repetitionPenalty: 5 })).toEqual(
      await next({}),
    );
  });

  test("deltas carry each token's figures once and in order, the text as whole characters", async () => {
    using handle = tiny.cache.open();
    await handle.append(question);
    const generation = handle.generate({ ...spread, seed: 5, logprobs: 2 });
    const streamed: TokenLogprob[] = [];
    let text = "";
    for await (const delta of generation.deltas()) {
      streamed.push(...(delta.logprobs ?? []));
      text += delta.text;
    }
    const result = await generation.result;
    expect(streamed).toEqual(result.logprobs);
    expect(streamed.map(({ id }) => id)).toEqual(result.tokens);
    expect(text).toBe(result.text);
    expect(() => generation[Symbol.asyncIterator]()).toThrow(
      expect.objectContaining({ code: "OPTION_INVALID" }),
    );
    for await (const delta of handle.generate({ closers, maxTokens: 3 }).deltas()) {
      expect(delta).not.toHaveProperty("logprobs");
    }
  });

  test("what is wrong with an option is said as for a stage, and the handle stays as it was", async () => {
    using handle = tiny.cache.open();
    await handle.append(question);
    const { rows } = handle;
    const before = tiny.activity();
    const bad: [string, GenerationOptions][] = [
      ["presencePenalty", { presencePenalty: 3 }],
      ["frequencyPenalty", { frequencyPenalty: Number.NaN }],
      ["logprobs", { logprobs: 21 }],
      ["seed", { seed: -1 }],
      ["logitBias[7]", { logitBias: { 7: Number.NaN } }],
      ["logitBias", { logitBias: { 512: 1 } }],
      [
        "logitBias",
        { logitBias: Object.fromEntries(Array.from({ length: 512 }, (_, id) => [id, -Infinity])) },
      ],
      ["closers", { closers: ["the"] }],
      ["stop", { stop: [""] }],
      ["temprature", { temprature: 1 } as GenerationOptions],
    ];
    for (const [option, options] of bad) {
      await expect(handle.generate(options).result, option).rejects.toMatchObject({
        code: "OPTION_INVALID",
        message: expect.stringContaining("This call of generate has"),
        facts: { option },
      });
    }
    expect(tiny.activity()).toEqual(before);
    expect(handle.rows).toBe(rows);
  });
});

describe("SmolLM2", () => {
  let smol: Model;
  beforeAll(async () => {
    smol = await loadModel("smollm2-135m-instruct", { threads: 2, batchInvariant: true, indexBytes: 0 });
  }, 300_000);
  afterAll(() => smol?.close());

  const opener =
    "<|im_start|>user\nWhat is the capital of France? One word.<|im_end|>\n<|im_start|>assistant\n";

  test("closes its answer: handle and stage report the closing token beside the tokens", async () => {
    const options = { maxTokens: 60, logprobs: 3 };
    const wanted = await byStage(smol, opener, options);
    expect(wanted.reason).toBe("closed");
    expect(wanted.text).toContain("Paris");
    expect(wanted.closing?.id).toBe(smol.tokenizer.specialId("<|im_end|>"));
    expect(wanted.tokens).not.toContain(wanted.closing?.id);
    expect(wanted.logprobs).toHaveLength(wanted.tokens.length);
    const [likeliest] = wanted.closing?.top ?? []; // greedy: the token that was taken
    expect(likeliest).toEqual({
      id: wanted.closing?.id,
      text: wanted.closing?.text,
      logprob: wanted.closing?.logprob,
    });
    expect(await byHandle(smol, opener, options)).toEqual(wanted);

    // Cut one token before it closes: the same figures, and no closing token.
    const cut = await byHandle(smol, opener, { ...options, maxTokens: wanted.tokens.length });
    expect(cut).toEqual({ ...wanted, reason: "length", closing: undefined });
  }, 300_000);

  test("sampled with penalties, a bias and a ban: handle and stage alike", async () => {
    const [paris] = smol.tokenizer.encode("Paris", { specials: false });
    const options = {
      maxTokens: 24,
      temperature: 0.8,
      topP: 0.95,
      presencePenalty: 0.7,
      frequencyPenalty: 0.4,
      logitBias: { [paris as number]: Number.NEGATIVE_INFINITY },
      logprobs: 1,
      seed: 2026,
      stop: "\n\n\n",
    };
    const wanted = await byStage(smol, opener, options);
    expect(wanted.tokens).not.toContain(paris);
    expect(await byHandle(smol, opener, options)).toEqual(wanted);
    expect(await byHandle(smol, opener, { ...options, seed: 2027 })).not.toEqual(wanted);
  }, 300_000);
});
