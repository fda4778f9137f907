// SPDX-License-Identifier: Apache-2.0
// Rows under different salts are different rows, for runs and for handles, and not even the reason of a miss tells
// what another salt has seen.

import { afterEach, describe, expect, test } from "vitest";
import type { ChainEvent, Model, RunOptions } from "../../src/index.js";
import { defineChain, OptionInvalidError } from "../../src/index.js";
import { loadTiny, passages, question, rowsOf } from "../chain/tiny-model.js";

const open: Model[] = [];
async function load(): Promise<Model> {
  const model = await loadTiny({ indexBytes: 4 << 20 });
  open.push(model);
  return model;
}
afterEach(async () => {
  for (const model of open.splice(0)) await model.close();
});

const chainOf = (model: Model) =>
  defineChain(model)
    .input("question")
    .input("document", { alone: true })
    .stage("s", { maxTokens: 4, closers: ["<|endoftext|>"] });

async function missesOf(model: Model, options: RunOptions) {
  const run = chainOf(model).run({ question, document: passages }, options);
  const events: ChainEvent[] = [];
  for await (const event of run) events.push(event);
  return {
    text: (await run.result).s.text,
    hits: events.filter((one) => one.type === "cache-hit").map((one) => one.segment),
    reasons: events.flatMap((one) => (one.type === "cache-miss" ? [one.reason] : [])),
  };
}

describe("salt", () => {
  test("runs find the rows of their own salt only, and answer alike", async () => {
    const model = await load();
    const first = await missesOf(model, { salt: "a" });
    expect(first.hits).toEqual([]);
    const other = await missesOf(model, { salt: "b" });
    expect(other.hits).toEqual([]);
    expect(other.reasons).toEqual(first.reasons);
    const none = await missesOf(model, {});
    expect(none.hits).toEqual([]);
    expect(none.reasons).toEqual(first.reasons);
    const again = await missesOf(model, { salt: "a" });
    expect(again.hits).toContain("document");
    expect([other.text, none.text, again.text]).toEqual([first.text, first.text, first.text]);
  });

  test("a fork has the salt of its handle", async () => {
    const model = await load();
    const rowsFound = async (salt: string | undefined) => {
      using handle = model.cache.open(salt === undefined ? {} : { salt });
      using fork = handle.fork();
      return (await fork.append(passages)).rowsReused;
    };
    const rows = rowsOf(model, passages);
    expect(await rowsFound("a")).toBe(0);
    expect(await rowsFound("b")).toBe(0);
    expect(await rowsFound(undefined)).toBe(0);
    expect(await rowsFound("a")).toBeGreaterThan(rows / 2);
    expect(await rowsFound(undefined)).toBeGreaterThan(rows / 2);
  });

  test.each([[""], ["x".repeat(1025)], [7], [null]])("%j is refused", async (salt) => {
    const model = await load();
    expect(() => model.cache.open({ salt: salt as string })).toThrow(OptionInvalidError);
    const run = chainOf(model).run({ question, document: passages }, { salt: salt as string });
    await expect(run.result).rejects.toMatchObject({ code: "OPTION_INVALID", facts: { option: "salt" } });
  });
});
