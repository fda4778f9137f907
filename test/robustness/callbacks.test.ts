// SPDX-License-Identifier: Apache-2.0
// Code of the program that the library calls, or that leaves the library waiting: whatever it throws arrives where
// the program looks, the job stops, and everything is freed.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Model } from "../../src/index.js";
import { defineChain, loadModel } from "../../src/index.js";
import type { JobListeners } from "../../src/native/engine-client.js";
import { failure, fresh, greedy, ids, reportOf, settled, tinyPath } from "./support.js";

let model: Model;
beforeAll(async () => {
  model = await loadModel(tinyPath, { threads: 1, cacheBytes: 8 << 20, maxBatchRows: 16 });
});
afterAll(() => model.close());

const question = "How long does the harbour freeze?";
const endless = { maxTokens: 300, closers: ["<|endoftext|>"] };
const empty = { blocksUsed: 0, segments: 0 };

async function expectUsable(): Promise<void> {
  expect(await settled(() => model.stats())).toMatchObject(empty);
  const chain = defineChain(model).input("question").stage("s", { maxTokens: 3 });
  expect((await chain.run({ question }).result).s.tokens.length).toBeGreaterThan(0);
  expect(await settled(() => model.stats())).toMatchObject(empty);
}

describe("a listener of a job that throws", () => {
  const thrown = new Error("on purpose");
  const fail = () => {
    throw thrown;
  };
  const listeners: [string, JobListeners][] = [
    ["onTokens", { onTokens: fail }],
    ["onProgress", { onProgress: fail }],
    ["onLogits", { onLogits: fail }],
  ];
  for (const [name, one] of listeners) {
    test(`${name}: the job rejects with it and is stopped, not left to run to its end`, async () => {
      const segment = model.engine.createSegment(fresh());
      const appends = [{ segment, tokens: ids(40) }];
      const generate = name === "onLogits" ? {} : { generate: greedy(400) };
      const logits = name === "onLogits" ? "last" : "none";
      expect(await failure(model.engine.run({ appends, logits, ...generate }, one))).toBe(thrown);
      const { rows } = model.engine.segmentInfo(segment);
      expect(rows).toBeLessThan(440);
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(model.engine.segmentInfo(segment).rows).toBe(rows); // nothing runs on
      model.engine.releaseSegment(segment);
      await expectUsable();
    });
  }
});

describe("a from function", () => {
  for (const [what, from] of [
    [
      "throws",
      () => {
        throw new Error("on purpose");
      },
    ],
    ["rejects", () => Promise.reject(new Error("on purpose"))],
    ["throws no error at all", () => Promise.reject(undefined)],
  ] as [string, () => Promise<string>][]) {
    test(`that ${what}: STEP_FAILED while another run goes on`, async () => {
      const other = defineChain(model).input("question").stage("s", endless).run({ question });
      const chain = defineChain(model)
        .input("question")
        .stage("a", { maxTokens: 3 })
        .input("found", { from })
        .stage("b");
      const error = await failure(chain.run({ question }).result);
      expect(error).toMatchObject({ code: "STEP_FAILED", facts: { step: "found" } });
      expect((await other.result).s.tokens.length).toBe(300);
      await expectUsable();
    });
  }

  test("that closes the model: CLOSED", async () => {
    const own = await loadModel(tinyPath, { threads: 1, cacheBytes: 8 << 20 });
    const chain = defineChain(own)
      .input("question")
      .stage("a", { maxTokens: 3 })
      .input("found", {
        from: async () => {
          await own.close();
          return "found";
        },
      })
      .stage("b");
    expect(await failure(chain.run({ question }).result)).toMatchObject({ code: "CLOSED" });
  });
});

describe("a consumer of events", () => {
  const long = () => defineChain(model).input("question").stage("a", endless).stage("b", { maxTokens: 100 });
  /** A run that does not end before `go` is called: however late its consumer is heard, there is a run to leave. */
  function held() {
    let go = (_: string) => {};
    const left = new Promise<string>((resolve) => {
      go = resolve;
    });
    const chain = defineChain(model)
      .input("question")
      .stage("a", endless)
      .input("after", { from: () => left })
      .stage("b", { maxTokens: 100 });
    return { run: chain.run({ question }), go: () => go("after") };
  }

  test("that leaves its loop, 20 times at different moments", async () => {
    for (let turn = 0; turn < 20; turn++) {
      const { run, go } = held();
      let seen = 0;
      // of events that a late reader finds, some have become one: the last that comes before `go` is the end of "a"
      for await (const { type } of run) if (seen++ >= turn % 7 || type === "stage-end") break;
      go();
      expect(await failure(run.result)).toMatchObject({ name: "AbortError" });
    }
    await expectUsable();
  });

  test("that throws in its loop", async () => {
    const { run, go } = held();
    const consumer = (async () => {
      for await (const event of run) if (event.type === "text-delta") throw new Error("on purpose");
    })();
    expect(await failure(consumer)).toMatchObject({ message: "on purpose" });
    go();
    expect(await failure(run.result)).toMatchObject({ name: "AbortError" });
    await expectUsable();
  });

  test("that takes one event and never asks again does not hold the run up", async () => {
    const run = long().run({ question });
    const iterator = run[Symbol.asyncIterator]();
    expect(await iterator.next()).toMatchObject({ done: false });
    expect((await run.result).a.tokens.length).toBe(300);
    await iterator.return?.();
    await expectUsable();
  });

  test("that nobody is: neither events nor the result are waited for", async () => {
    for (let turn = 0; turn < 5; turn++) long().run({ question });
    await settled(() => model.stats(), -1).catch(() => {});
    await expectUsable();
  });
});

test("an event callback of the addon itself that throws: an uncaught exception of the program, the engine goes on", async () => {
  const report = await reportOf("callback.mjs");
  expect(report).toMatchObject({ uncaught: ["on purpose"], ended: "done" });
});
