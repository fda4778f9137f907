// SPDX-License-Identifier: Apache-2.0
// Sampling as a stage's options: what bias, penalties and seeds do to its tokens, and its log-probabilities in result
// and events. The arithmetic is tested natively against transformers (test/native/engine/sampler_fixture_test.cpp).

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type {
  ChainEvent,
  Model,
  OutputOptions,
  SamplingOptions,
  StageResult,
  TokenLogprob,
} from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import { loadTiny, question, settled } from "./tiny-model.js";

let model: Model;
beforeAll(async () => {
  model = await loadTiny();
});
afterAll(() => model.close());

const closers = ["<|endoftext|>"];

function chainWith(options: OutputOptions) {
  return defineChain(model)
    .input("question")
    .stage("s", { maxTokens: 40, closers, ...options });
}

async function generate(options: SamplingOptions & { maxTokens?: number }): Promise<StageResult> {
  return (await chainWith(options).run({ question }).result).s;
}

/** Largest number of times that one token occurs. */
function mostRepeats(tokens: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const id of tokens) counts.set(id, (counts.get(id) ?? 0) + 1);
  return Math.max(...counts.values());
}

describe("bias and penalties", () => {
  test("a banned token never comes; a favoured one always does", async () => {
    const { tokens } = await generate({ temperature: 1, seed: 4 });
    const banned = Object.fromEntries(tokens.map((id) => [id, Number.NEGATIVE_INFINITY]));
    const other = await generate({ temperature: 1, seed: 4, logitBias: banned });
    for (const id of other.tokens) expect(tokens).not.toContain(id);
    const favoured = await generate({ temperature: 1, logitBias: { 321: 1e4 } });
    expect(favoured.tokens).toEqual(Array(40).fill(321));
  });

  test("presence and frequency penalties spread the tokens; negative ones gather them", async () => {
    const plain = mostRepeats((await generate({ temperature: 0.5, seed: 1 })).tokens);
    const biased = { temperature: 0.5, seed: 1, logitBias: { 321: 8 } };
    const repeating = mostRepeats((await generate(biased)).tokens);
    expect(repeating).toBeGreaterThan(plain);
    const spread = mostRepeats((await generate({ ...biased, frequencyPenalty: 2 })).tokens);
    expect(spread).toBeLessThan(repeating);
    const gathered = await generate({ temperature: 0.5, seed: 1, frequencyPenalty: -2, presencePenalty: -2 });
    expect(mostRepeats(gathered.tokens)).toBeGreaterThan(plain);
  });

  test("penalties look at this output only, not at what the stage reads", async () => {
    const ids = [...model.tokenizer.encode(question, { specials: false })];
    const { tokens } = await generate({ presencePenalty: 2, frequencyPenalty: 2, maxTokens: 1 });
    const [first] = (await generate({ maxTokens: 1 })).tokens;
    expect(tokens[0]).toBe(first);
    expect(ids.length).toBeGreaterThan(5);
  });

  test("a bias on a token that the model lacks, and a ban of every token: before anything is computed", async () => {
    const unknown = chainWith({ logitBias: { 3: 1, 512: 1 } });
    await expect(unknown.run({ question }).result).rejects.toMatchObject({
      code: "OPTION_INVALID",
      message: expect.stringContaining("0 to 511"),
      facts: { step: "s", option: "logitBias", value: "512" },
    });
    const all = Object.fromEntries(Array.from({ length: 512 }, (_, id) => [id, Number.NEGATIVE_INFINITY]));
    await expect(chainWith({ logitBias: all }).run({ question }).result).rejects.toMatchObject({
      code: "OPTION_INVALID",
      facts: { step: "s", option: "logitBias" },
    });
    const { decodeRows, prefillRows } = model.activity();
    const before = { decodeRows, prefillRows };
    await expect(unknown.run({ question }).result).rejects.toThrow();
    expect(model.activity()).toMatchObject(before);
    await settled(model);
    expect(model.stats().segments).toBe(0);
  });
});

describe("seeds", () => {
  test("the same seed gives the same tokens, alone and beside others; other seeds give others", async () => {
    const seeds = [0, 1, 2, 3, 4, 5, 6, 7];
    const run = async (seed: number) => (await generate({ temperature: 1, seed })).tokens;
    const together = await Promise.all(seeds.map(run));
    for (const seed of seeds) expect(await run(seed)).toEqual(together[seed]);
    expect(new Set(together.map(String)).size).toBe(seeds.length);
  });
});

describe("n samples from one trunk", () => {
  test("each is what the stage gives with that seed, penalties and log-probabilities included", async () => {
    const options = { temperature: 1, frequencyPenalty: 1, logprobs: 3, maxTokens: 12, closers };
    const chain = defineChain(model)
      .input("question")
      .fanOut("samples", { samples: 5 }, (branch) => branch.stage("s", { ...options, seed: 100 }));
    const { samples } = await chain.run({ question }).result;
    for (const [i, { s }] of samples.entries()) {
      const alone = await generate({ ...options, seed: 100 + i });
      expect(s.tokens).toEqual(alone.tokens);
      expect(s.logprobs).toEqual(alone.logprobs);
    }
    expect(new Set(samples.map(({ s }) => String(s.tokens))).size).toBe(5);
  });
});

describe("log-probabilities", () => {
  test("absent unless asked for, and asking changes no token", async () => {
    const sampling = { temperature: 0.8, seed: 3 };
    const plain = await generate(sampling);
    const asked = await generate({ ...sampling, logprobs: 4 });
    expect(plain).not.toHaveProperty("logprobs");
    expect(asked.tokens).toEqual(plain.tokens);
    expect(asked.text).toBe(plain.text);
  });

  test("one per token, the likeliest first, with texts", async () => {
    const { tokens, logprobs } = await generate({ temperature: 1, seed: 5, logprobs: 20 });
    expect(logprobs?.map((one) => one.id)).toEqual(tokens);
    for (const { id, text, logprob, top } of logprobs ?? []) {
      expect(text).toBe(model.tokenizer.decode([id]));
      expect(logprob).toBeLessThan(0);
      expect(top).toHaveLength(20);
      expect(top.map((one) => one.logprob)).toEqual(top.map((one) => one.logprob).sort((a, b) => b - a));
      expect(new Set(top.map((one) => one.id)).size).toBe(20);
      const listed = top.find((one) => one.id === id);
      if (listed === undefined) expect(logprob).toBeLessThanOrEqual(top.at(-1)?.logprob as number);
      else expect(listed.logprob).toBe(logprob);
      expect(top.reduce((sum, one) => sum + Math.exp(one.logprob), 0)).toBeLessThanOrEqual(1 + 1e-6);
    }
  });

  test("logprobs 0 gives the chosen tokens' alone", async () => {
    const { tokens, logprobs } = await generate({ logprobs: 0 });
    expect(logprobs).toHaveLength(tokens.length);
    expect(logprobs?.every(({ top }) => top.length === 0)).toBe(true);
  });

  test("streamed with the text, each token once and in order", async () => {
    const run = chainWith({ temperature: 1, seed: 9, logprobs: 2 }).run({ question });
    const streamed: TokenLogprob[] = [];
    let text = "";
    for await (const event of run) {
      if (event.type !== "text-delta") continue;
      streamed.push(...(event.logprobs ?? []));
      text += event.text;
    }
    const { s } = await run.result;
    expect(streamed).toEqual(s.logprobs);
    expect(streamed.map((one) => one.id)).toEqual(s.tokens);
    expect(text).toBe(s.text);
  });

  test("a stop string drops the figures of the tokens that it drops", async () => {
    const free = await generate({ logprobs: 1, temperature: 1, seed: 2 });
    const at = free.tokens.findIndex((id, i) => i > 3 && /^[a-z]/.test(model.tokenizer.decode([id]).trim()));
    const stop = model.tokenizer.decode([free.tokens[at] as number]);
    const chain = chainWith({ logprobs: 1, temperature: 1, seed: 2, stop });
    const { s } = await chain.run({ question }).result;
    expect(s.reason).toBe("stop");
    expect(s.logprobs?.map((one) => one.id)).toEqual(s.tokens);
    expect(s.logprobs).toEqual(free.logprobs?.slice(0, s.tokens.length));
  });

  test("the token that closes is reported beside the tokens, in result and last event", async () => {
    const closer = "<|im_end|>";
    const id = model.tokenizer.specialId(closer) as number;
    // Favoured so much that it comes at once: its figures are those of the raw logits all the same.
    const favoured = { logitBias: { [id]: 1e4 }, logprobs: 20 };
    const run = chainWith({ ...favoured, closers: [closer] }).run({ question });
    let last: ChainEvent | undefined;
    for await (const event of run) last = event;
    const { s } = await run.result;
    expect(s).toMatchObject({ tokens: [], text: "", reason: "closed", logprobs: [] });
    expect(last).toMatchObject({ type: "stage-end", closing: s.closing });
    const open = await generate({ ...favoured, maxTokens: 1 });
    expect(s.closing).toEqual(open.logprobs?.[0]);
    expect(open).not.toHaveProperty("closing");
    const silent = await chainWith({ logitBias: { [id]: 1e4 }, closers: [closer] }).run({ question }).result;
    expect(silent.s).toMatchObject({ reason: "closed" });
    expect(silent.s).not.toHaveProperty("closing");
  });
});
