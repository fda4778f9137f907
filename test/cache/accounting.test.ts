// SPDX-License-Identifier: Apache-2.0
// Every byte of the pool has one owner in the report, idle prompts among them, and together they stay within the budget.

import { afterEach, expect, test } from "vitest";
import type { LoadOptions, Model } from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import { loadTiny, passages, question, rowsOf, until } from "../chain/tiny-model.js";

const open: Model[] = [];
async function load(options: LoadOptions = {}): Promise<Model> {
  const model = await loadTiny(options);
  open.push(model);
  return model;
}
afterEach(async () => {
  for (const model of open.splice(0)) await model.close();
});

const stage = { maxTokens: 6, closers: ["<|endoftext|>"] };
const role = (i: number) => `Role ${i} reads with care. `.repeat(3);
const chainOf = (model: Model, i: number) =>
  defineChain(model)
    .input("question")
    .stage("s", { ...stage, prompt: { text: role(i) } });

/** Throws where the report does not add up; for moments in which nothing runs. */
function checked(model: Model) {
  const stats = model.cache.stats();
  const { prompts, inputs, outputs, index } = stats.bytes;
  expect(prompts + inputs + outputs).toBe(stats.usedBytes);
  expect(index).toBe(stats.blocksKept * stats.blockBytes);
  expect(stats.usedBytes + index).toBeLessThanOrEqual(stats.budgetBytes);
  expect(stats.freeBytes).toBe(stats.budgetBytes - stats.usedBytes);
  expect(stats.peakBytes).toBeLessThanOrEqual(stats.budgetBytes);
  expect(stats.idlePromptBytes).toBeLessThanOrEqual(prompts);
  return stats;
}

const quiet = (model: Model) => until(() => model.stats().usedBytes === model.cache.stats().idlePromptBytes);

test.each([0, 2 << 20])("bytes by kind add up with an index of %i bytes", async (indexBytes) => {
  const model = await load({ indexBytes });
  expect(checked(model)).toMatchObject({ usedBytes: 0, idlePromptBytes: 0 });
  for (let i = 0; i < 3; i++) await chainOf(model, i).run({ question }).result;
  await quiet(model);
  const blocksOf = (rows: number) => Math.ceil(rows / model.info.blockRows);
  const prompts = [0, 1, 2].reduce((sum, i) => sum + blocksOf(rowsOf(model, role(i))), 0);
  const idle = checked(model);
  expect(idle.blocksUsed).toBe(prompts);
  expect(idle.idlePromptBytes).toBe(prompts * idle.blockBytes);
  expect(idle.bytes).toMatchObject({ prompts: idle.idlePromptBytes, inputs: 0, outputs: 0 });
  expect(idle.bytes.index > 0).toBe(indexBytes > 0);

  const handle = model.cache.open();
  await handle.append(passages);
  const fork = handle.fork();
  await fork.append(question);
  await until(() => model.stats().segments === 5);
  const held = checked(model);
  const rows = [rowsOf(model, passages) - 1, rowsOf(model, question)]; // the last row is computed with what comes next
  expect(held.bytes.inputs).toBe(rows.reduce((sum, one) => sum + blocksOf(one), 0) * held.blockBytes);
  for (const one of [handle, fork]) one.close();
  await quiet(model);
  expect(checked(model).bytes.inputs).toBe(0);
});

test("a prompt in use is not idle", async () => {
  const model = await load();
  const chain = chainOf(model, 1);
  await chain.run({ question }).result;
  const idle = model.cache.stats().idlePromptBytes;
  expect(idle).toBeGreaterThan(0);
  let least = Number.POSITIVE_INFINITY;
  for await (const event of chain.run({ question })) {
    if (event.type === "text-delta") least = Math.min(least, model.cache.stats().idlePromptBytes);
  }
  expect(least).toBe(0);
});

test.each([0, 16])(
  "idle prompts make room for a handle before it fails; %i blocks of index",
  async (kept) => {
    const { info } = await load();
    const budget = 24 * info.blockBytes;
    const model = await load({ cacheBytes: budget, indexBytes: kept * info.blockBytes });
    for (let i = 0; i < 4; i++) await chainOf(model, i).run({ question }).result;
    await quiet(model);
    const before = checked(model);
    expect(before.idlePromptBytes).toBeGreaterThan(4 * info.blockBytes);
    const handle = model.cache.open();
    await handle.append(Array.from({ length: 22 * info.blockRows }, (_, i) => (i * 7) % 500));
    expect((await handle.generate(stage).result).tokens).toHaveLength(6);
    expect(checked(model).idlePromptBytes).toBeLessThan(before.idlePromptBytes);
    const more = handle.append(Array.from({ length: 4 * info.blockRows }, () => 1));
    await expect(more).rejects.toMatchObject({ code: "CACHE_BUDGET" });
    expect(checked(model).idlePromptBytes).toBe(0); // given up before it failed
    handle.close();
    await quiet(model);
    const again = await chainOf(model, 3).run({ question }).result;
    expect(again.s.tokens).toHaveLength(6);
  },
);

test("the budget holds whatever comes: runs, sessions and prompts in a pool that is too small for all", async () => {
  const { info } = await load();
  const cacheBytes = 40 * info.blockBytes;
  const model = await load({ cacheBytes, indexBytes: 12 * info.blockBytes });
  const work = Array.from({ length: 24 }, async (_, i) => {
    if (i % 3 > 0)
      return (await chainOf(model, i % 5).run({ question: `${i % 4} ${passages}` }).result).s.text;
    using handle = model.cache.open();
    await handle.append(`${i % 2} ${passages}`);
    return (await handle.generate(stage).result).text;
  });
  for (const outcome of await Promise.allSettled(work)) {
    if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "CACHE_BUDGET" });
  }
  await quiet(model);
  const stats = checked(model);
  expect(stats.bytes.index).toBeLessThanOrEqual(12 * info.blockBytes);
});
