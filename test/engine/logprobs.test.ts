// SPDX-License-Identifier: Apache-2.0
// Log-probabilities at the seam: against log-softmax of the logits that the same job hands out, and against that of
// transformers' logits.

import { afterAll, beforeAll, expect, test } from "vitest";
import type { EngineClient } from "../../src/native/engine-client.js";
import type { ClosingToken, GenerateSpec } from "../../src/native/types.js";
import { loadArrays, logSoftmax } from "../helpers/fixtures.js";
import { greedy, openSmol, openTiny, plainSegment } from "./support.js";

let engine: EngineClient;
beforeAll(async () => {
  engine = await openTiny("f32");
});
afterAll(() => engine.close());

interface Figures {
  ids: number[];
  chosen: number[];
  topIds: number[];
  topLogprobs: number[];
  /** [vocab], of the first place. */
  logits: Float32Array;
  closing: ClosingToken | undefined;
}

async function generate(tokens: Int32Array, generate: GenerateSpec, on = engine): Promise<Figures> {
  const segment = on.createSegment({ ...plainSegment, reads: [] });
  const lists = { ids: [], chosen: [], topIds: [], topLogprobs: [] };
  const all: Figures = { ...lists, logits: new Float32Array(), closing: undefined };
  const { closing } = await on.run(
    { appends: [{ segment, tokens }], generate, logits: "last" },
    {
      onTokens: (ids, figures) => {
        all.ids.push(...ids);
        all.chosen.push(...(figures?.chosen ?? []));
        all.topIds.push(...(figures?.topIds ?? []));
        all.topLogprobs.push(...(figures?.topLogprobs ?? []));
      },
      onLogits: (_, data) => {
        all.logits = data;
      },
    },
  );
  on.releaseSegment(segment);
  return { ...all, closing };
}

/** Ids of the n largest values, the lowest id among equals. */
function likeliest(values: Float64Array, n: number): number[] {
  return [...values.keys()]
    .sort((a, b) => (values[b] as number) - (values[a] as number) || a - b)
    .slice(0, n);
}

test("the 20 likeliest tokens after every row of the fixture, as transformers has them", async () => {
  const arrays = loadArrays("tiny-llama");
  const tokens = arrays.ints("tokens");
  const reference = arrays.matrix("logits.f32");
  for (let row = 3; row < tokens.length; row += 4) {
    const spec = { ...greedy(1), logprobs: 20 };
    const { ids, chosen, topIds, topLogprobs } = await generate(tokens.slice(0, row + 1), spec);
    const { columns } = reference;
    const expected = logSoftmax(reference.data.slice(row * columns, (row + 1) * columns));
    expect(topIds).toEqual(likeliest(expected, 20));
    topIds.forEach((id, k) => {
      expect(Math.abs((topLogprobs[k] as number) - (expected[id] as number))).toBeLessThan(2e-4);
    });
    expect(chosen).toEqual([topLogprobs[0]]);
    expect(ids).toEqual([topIds[0]]);
  }
});

test("the closing token after rows of the fixture, as transformers has it", async () => {
  const arrays = loadArrays("tiny-llama");
  const tokens = arrays.ints("tokens");
  const { data, columns } = arrays.matrix("logits.f32");
  for (let row = 2; row < tokens.length; row += 9) {
    const expected = logSoftmax(data.slice(row * columns, (row + 1) * columns));
    const [likely = 0, ...others] = likeliest(expected, 20);
    // The likeliest closes by itself; an unlikely one because it is favoured, which its figures do not show.
    for (const id of [likely, others.at(-1) as number]) {
      const logitBias = { ids: Int32Array.of(id), values: Float32Array.of(5000) };
      const { ids, chosen, closing } = await generate(tokens.slice(0, row + 1), {
        ...greedy(4),
        sampler: { ...greedy(4).sampler, ...(id === likely ? {} : { logitBias }) },
        closers: Int32Array.of(id),
        logprobs: 5,
      });
      expect([ids, chosen]).toEqual([[], []]);
      expect(closing?.id).toBe(id);
      expect([...(closing?.logprobs?.topIds ?? [])]).toEqual([likely, ...others].slice(0, 5));
      const [logprob = Number.NaN] = closing?.logprobs?.chosen ?? [];
      expect(Math.abs(logprob - (expected[id] as number))).toBeLessThan(2e-4);
    }
  }
});

test("SmolLM2 after 208 tokens, over its whole vocabulary, as transformers has them", async () => {
  const arrays = loadArrays("smollm2-logits");
  const model = await openSmol();
  const spec = { ...greedy(1), logprobs: 20 };
  const { ids, chosen, topIds, topLogprobs } = await generate(arrays.ints("tokens"), spec, model.engine);
  const closed = { ...spec, closers: Int32Array.from(ids) };
  const { closing } = await generate(arrays.ints("tokens"), closed, model.engine);
  await model.close();
  expect(closing).toMatchObject({ id: ids[0], logprobs: { chosen: Float32Array.from(chosen) } });
  const expected = logSoftmax(arrays.floats("last"));
  expect(topIds).toEqual(likeliest(expected, 20));
  expect(chosen).toEqual([topLogprobs[0]]);
  topIds.forEach((id, k) => {
    expect(Math.abs((topLogprobs[k] as number) - (expected[id] as number))).toBeLessThan(1e-3);
  });
});

test("of the raw logits, whatever the sampler makes of them", async () => {
  const tokens = loadArrays("tiny-llama").ints("tokens");
  const logitBias = { ids: Int32Array.of(9), values: Float32Array.of(5000) };
  const sampler = {
    ...greedy(1).sampler,
    temperature: 2,
    presencePenalty: 1,
    repetitionPenalty: 3,
    logitBias,
  };
  const { ids, chosen, topIds, topLogprobs, logits } = await generate(tokens, {
    ...greedy(6),
    sampler,
    logprobs: 7,
  });
  expect(ids).toEqual(Array(6).fill(9));
  expect(chosen).toHaveLength(6);
  expect(topIds).toHaveLength(42);
  const expected = logSoftmax(logits);
  expect(chosen[0]).toBeCloseTo(expected[9] as number, 5);
  expect(topIds.slice(0, 7)).toEqual(likeliest(expected, 7));
  for (const [k, id] of topIds.slice(0, 7).entries())
    expect(topLogprobs[k]).toBeCloseTo(expected[id] as number, 5);
});

test("nothing crosses the seam unless it is asked for", async () => {
  const tokens = loadArrays("tiny-llama").ints("tokens");
  const segment = engine.createSegment({ ...plainSegment, reads: [] });
  let events = 0;
  await engine.run(
    { appends: [{ segment, tokens }], generate: greedy(5), logits: "none" },
    {
      onTokens: (_, figures) => {
        expect(figures).toBeUndefined();
        events += 1;
      },
    },
  );
  expect(events).toBeGreaterThan(0);
  engine.releaseSegment(segment);
});
