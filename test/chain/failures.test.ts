// SPDX-License-Identifier: Apache-2.0
// Everything that can go wrong in a run: a typed error that names the thing, and a pool that is as it was before.

import { getEventListeners } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Model } from "../../src/index.js";
import { CacheBudgetError, defineChain, loadModel } from "../../src/index.js";
import { failure } from "./failure.js";
import { loadTiny, passages, question, settled, tinyPath } from "./tiny-model.js";

let model: Model;
beforeAll(async () => {
  model = await loadTiny();
});
afterAll(() => model.close());

const long = (on = model) =>
  defineChain(on)
    .input("question")
    .input("passages")
    .stage("a", { own: ["passages"], maxTokens: 200, closers: ["<|endoftext|>"] })
    .stage("b", { maxTokens: 150, closers: ["<|endoftext|>"] });

describe("inputs", () => {
  const chain = () => defineChain(model).input("question").stage("s", { maxTokens: 1 });
  test.each([
    ["missing", {}, /Input "question" is missing\. This chain takes the inputs "question"/],
    ["empty", { question: "" }, /Input "question" is empty/],
    ["of another type", { question: 7 }, /Input "question" is of type number/],
    ["unknown", { question, extra: "x" }, /"extra" is not an input to be given/],
    ["not an object", null, /not an object/],
  ])("%s", async (_, inputs, says) => {
    const error = await failure(chain().run(inputs as never).result);
    expect(error).toMatchObject({ code: "CHAIN_INVALID" });
    expect(error.message).toMatch(says);
  });

  test("beyond the context: names step, rows and limit, before anything is computed", async () => {
    const before = model.stats().usedBytes;
    const error = await failure(chain().run({ question: passages.repeat(20) }).result);
    expect(error).toMatchObject({ code: "CONTEXT_LIMIT", facts: { step: "question", limit: 512 } });
    expect(error.facts.needed).toBeGreaterThan(512);
    expect(error.facts.over).toBe((error.facts.needed as number) - 512);
    expect(error.message).toContain(`${error.facts.over} more than the model's 512`);
    expect(model.stats().usedBytes).toBe(before);
  });

  test("beyond the context in a late stage: known at the start, before any stage begins or prompt is computed", async () => {
    const fresh = await loadTiny();
    try {
      const chain = defineChain(fresh)
        .input("question")
        .input("late")
        .stage("first", { prompt: { text: "Never computed." }, reads: ["question"], maxTokens: 1 })
        .input("found", { from: () => "never called", reads: [] })
        .stage("second", { own: ["late"], maxTokens: 1 });
      const rows = 511 - fresh.tokenizer.encode(question, { specials: false }).length;
      const late = Array.from({ length: rows }, () => " a").join("");
      const run = chain.run({ question, late });
      const events: string[] = [];
      const error = await failure(
        (async () => {
          for await (const event of run) events.push(event.type);
        })(),
      );
      expect(error).toMatchObject({ code: "CONTEXT_LIMIT" });
      expect(events).toEqual([]);
      expect(fresh.stats()).toMatchObject({ usedBytes: 0, peakBytes: 0, segments: 0 });
    } finally {
      await fresh.close();
    }
  });

  test("an input beyond the context that nobody reads, or only steps that do not run, harms nobody", async () => {
    const { s } = await defineChain(model)
      .input("question")
      .input("long")
      .stage("s", { reads: ["question"], maxTokens: 1 })
      .when(
        "w",
        () => false,
        (inside) => inside.stage("t", { reads: ["long"] }),
      )
      .run({ question, long: passages.repeat(20) }).result;
    expect(s.usage.tokens).toBeLessThanOrEqual(1);
  });

  test("a context that is full before the first token of a later stage", async () => {
    const chain = defineChain(model)
      .input("question")
      .stage("a", { maxTokens: 1000, closers: ["<|endoftext|>"] })
      .stage("b", { maxTokens: 1 });
    const error = await failure(chain.run({ question }).result);
    expect(error).toMatchObject({ code: "CONTEXT_LIMIT", facts: { step: "b" } });
    await settled(model);
    expect(model.stats().usedBytes).toBe(0);
  });

  test("both ways out tell the same error", async () => {
    const run = chain().run({ question: "" });
    const seen = await failure(
      (async () => {
        for await (const _ of run);
      })(),
    );
    expect(seen).toBe(await failure(run.result));
  });
});

describe("options that need the model", () => {
  test("a closer that is no special token", async () => {
    const chain = defineChain(model)
      .input("question")
      .stage("s", { closers: ["."] });
    const error = await failure(chain.run({ question }).result);
    expect(error).toMatchObject({
      code: "OPTION_INVALID",
      facts: { step: "s", option: "closers", value: "." },
    });
  });

  test("a prompt of another width, one with NaN, a folder that is not there", async () => {
    const rows = new Float32Array(2 * 32);
    const nan = new Float32Array(2 * 64).fill(0.5);
    nan[70] = Number.NaN;
    for (const prompt of [{ rows, count: 2 }, { rows: nan, count: 2 }, "no/such/folder"]) {
      const chain = defineChain(model).input("question").stage("s", { prompt, maxTokens: 1 });
      const error = await failure(chain.run({ question }).result);
      expect(["PROMPT_INVALID", "IO"]).toContain(error.code);
      await expect(chain.explain()).rejects.toMatchObject({ code: error.code });
    }
  });

  test.each([
    ["threads", 0],
    ["threads", 1.5],
    ["cacheBytes", -1],
    ["maxBatchRows", 0],
    ["kvType", "f8"],
    ["activations", "int4"],
    ["device", "gpu"],
    ["batchInvariant", "yes"],
    ["drafting", "always"],
  ])("loadModel with %s %s", async (option, value) => {
    const error = await failure(loadModel(tinyPath, { [option]: value }));
    expect(error).toMatchObject({ code: "OPTION_INVALID", facts: { option } });
  });
});

describe("a from function", () => {
  test("that throws: STEP_FAILED with step and cause, everything freed", async () => {
    const cause = new Error("the library is closed");
    const chain = defineChain(model)
      .input("question")
      .stage("a", { maxTokens: 4 })
      .input("found", {
        from: () => {
          throw cause;
        },
      })
      .stage("b");
    const error = await failure(chain.run({ question }).result);
    expect(error).toMatchObject({ code: "STEP_FAILED", facts: { step: "found" }, cause });
    expect(error.message).toMatch(/"found" failed: the library is closed/);
    await settled(model);
    expect(model.stats()).toMatchObject({ usedBytes: 0, segments: 0 });
  });

  test.each([[""], [7], [undefined]])("that returns %j", async (value) => {
    const chain = defineChain(model)
      .input("found", { from: () => value as never })
      .stage("s", { maxTokens: 1 });
    expect(await failure(chain.run({}).result)).toMatchObject({
      code: "CHAIN_INVALID",
      facts: { step: "found" },
    });
  });

  test("that never returns does not outlive an abort", async () => {
    const controller = new AbortController();
    let heard = false;
    const chain = defineChain(model)
      .input("found", {
        from: (_, { signal }) => {
          signal.addEventListener("abort", () => {
            heard = true;
          });
          setTimeout(() => controller.abort(new Error("enough")), 10);
          return new Promise<string>(() => {});
        },
      })
      .stage("s");
    expect((await failure(chain.run({}, { signal: controller.signal }).result)).message).toBe("enough");
    expect(heard).toBe(true);
  });
});

describe("abort", () => {
  test("at random times: the reason comes back and the pool is empty", async () => {
    let inside = 0;
    for (let turn = 0; turn < 40; turn++) {
      const controller = new AbortController();
      const reason = new Error(`abort ${turn}`);
      const run = long().run({ question, passages }, { signal: controller.signal });
      let left = Math.floor(Math.random() * 60); // events, so that every machine has runs of both kinds
      const watch = async () => {
        for await (const _ of run) if (left-- === 0) controller.abort(reason);
      };
      watch().catch(() => {}); // it fails as the result does
      const outcome = await run.result.then(
        () => "finished",
        (error: unknown) => error,
      );
      if (outcome !== "finished") {
        expect(outcome).toBe(reason);
        inside += 1;
      }
      await settled(model);
      expect(model.stats()).toMatchObject({ usedBytes: 0, segments: 0 });
    }
    expect(inside).toBeGreaterThan(5);
  });

  test("before the start: nothing is computed; the default reason is an AbortError", async () => {
    const error = await failure(long().run({ question, passages }, { signal: AbortSignal.abort() }).result);
    expect(error).toMatchObject({ name: "AbortError" });
    expect(model.stats().usedBytes).toBe(0);
  });

  test("one run leaves the others alone", async () => {
    const controller = new AbortController();
    const alone = await long().run({ question, passages }).result;
    const kept = long().run({ question, passages });
    const dropped = long().run({ question, passages }, { signal: controller.signal });
    for await (const event of dropped) {
      if (event.type === "text-delta") break;
    }
    await failure(dropped.result);
    expect((await kept.result).b.tokens).toEqual(alone.b.tokens);
  });

  test("one signal stops many runs, without a warning and without listeners left behind", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on("warning", onWarning);
    const controller = new AbortController();
    const chain = defineChain(model).input("question").stage("s", { maxTokens: 2 });
    const runs = (count: number) =>
      Promise.all(
        Array.from({ length: count }, () => chain.run({ question }, { signal: controller.signal }).result),
      );
    await runs(20);
    expect(getEventListeners(controller.signal, "abort")).toHaveLength(0);
    const stopped = Promise.allSettled(
      Array.from(
        { length: 12 },
        () => long().run({ question, passages }, { signal: controller.signal }).result,
      ),
    );
    controller.abort();
    for (const one of await stopped)
      expect(one).toMatchObject({ status: "rejected", reason: { name: "AbortError" } });
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
    await settled(model);
    expect(model.stats()).toMatchObject({ usedBytes: 0, segments: 0 });
  });

  test("leaving the loop cancels the run and frees it", async () => {
    const run = long().run({ question, passages });
    for await (const event of run) {
      if (event.type === "text-delta") break;
    }
    expect(await failure(run.result)).toMatchObject({ name: "AbortError" });
    await settled(model);
    expect(model.stats()).toMatchObject({ usedBytes: 0, segments: 0 });
  });

  test("while loading", async () => {
    const reason = new Error("not now");
    const controller = new AbortController();
    const options = { signal: controller.signal, onProgress: () => controller.abort(reason) };
    expect(await failure(loadModel(tinyPath, options))).toBe(reason);
  });
});

describe("budget", () => {
  test("a run that does not fit: bytes needed and free; another run of the model is unharmed", async () => {
    const small = await loadTiny({ cacheBytes: model.info.blockBytes * 8 });
    try {
      const modest = defineChain(small)
        .input("question")
        .stage("s", { maxTokens: 20, closers: ["<|endoftext|>"] });
      const alone = await modest.run({ question }).result;
      const [error, kept] = await Promise.all([
        failure(long(small).run({ question, passages: passages.repeat(3) }).result),
        modest.run({ question }).result,
      ]);
      expect(CacheBudgetError.isInstance(error)).toBe(true);
      expect(Object.keys(error.facts)).toEqual(expect.arrayContaining(["needed", "free"]));
      expect(kept.s.tokens).toEqual(alone.s.tokens);
      await settled(small);
      expect(small.stats()).toMatchObject({ usedBytes: 0, segments: 0 });
    } finally {
      await small.close();
    }
  });
});

describe("a closed model", () => {
  test("refuses everything by name; close is idempotent", async () => {
    const other = await loadTiny();
    const chain = long(other);
    const running = chain.run({ question, passages });
    const gone = failure(running.result);
    await Promise.all([other.close(), other.close()]);
    await other.close();
    expect(other.closed).toBe(true);
    expect(await gone).toMatchObject({ code: "CLOSED" });
    expect(await failure(chain.run({ question, passages }).result)).toMatchObject({ code: "CLOSED" });
    expect(() => other.stats()).toThrow(expect.objectContaining({ code: "CLOSED" }));
    expect(() => defineChain(other)).toThrow(expect.objectContaining({ code: "CLOSED" }));
  });

  test("is closed by `await using`", async () => {
    const other = await loadTiny();
    await other[Symbol.asyncDispose]();
    expect(other.closed).toBe(true);
  });

  test("defineChain without a model", () => {
    expect(() => defineChain(Promise.resolve(model) as never)).toThrow(
      expect.objectContaining({ code: "OPTION_INVALID" }),
    );
  });
});
