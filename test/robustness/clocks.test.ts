// SPDX-License-Identifier: Apache-2.0
// Nothing that is computed, queued or waited for depends on the wall clock, which may jump by hours at any moment.

import { afterEach, describe, expect, test, vi } from "vitest";
import { defineChain, loadModel } from "../../src/index.js";
import { codeFiles, textOf } from "../rules/support/tree.js";
import { failure, settled, tinyPath } from "./support.js";

/** Who reads the wall clock, and why it must: files outlive processes, so that their age is all there is; others tell a time. */
const allowed = new Map([
  ["src/ai-sdk/language-model.ts", "an answer says when it was made"],
  ["src/cli/serve-log.ts", "a line of the log says when it was written"],
  ["src/serve/openai/answers.ts", "an answer says when it was made"],
  ["src/serve/routes/chains.ts", "an answer says when it was made"],
  ["src/serve/server.ts", "the list of models says since when there is one"],
  [
    "src/model/sources/lock.ts",
    "a lock's file is touched while it is held; only its age tells that a holder on another host is gone",
  ],
  ["src/tune/files.ts", "files that were never finished are removed when they are days old"],
  ["src/tune/frozen-disk.ts", "what was used last is kept longest, over runs"],
]);

test("who reads the wall clock has a reason that is written down", () => {
  const clocks = /Date\.now\(|new Date\(\)|system_clock|gettimeofday|CLOCK_REALTIME|\btime\((nullptr|NULL)\)/;
  const readers = codeFiles(["src", "native"]).filter((file) => clocks.test(textOf(file)));
  expect(readers.sort()).toEqual([...allowed.keys()].sort());
});

describe("a clock that jumps at every look", () => {
  afterEach(() => vi.restoreAllMocks());

  test("queued runs: the same tokens in the same order, aborts too, and nothing stays", async () => {
    const options = { threads: 1, cacheBytes: 8 << 20, maxConcurrentRuns: 2, batchInvariant: true };
    const model = await loadModel(tinyPath, options);
    const chain = defineChain(model)
      .input("question")
      .stage("s", { maxTokens: 12, temperature: 0.9, seed: 4 });
    const all = async () => {
      const order: number[] = [];
      const run = async (index: number) => {
        const controller = new AbortController();
        if (index % 5 === 4) controller.abort(new Error(`abort ${index}`));
        const started = chain.run({ question: `Question ${index}?` }, { signal: controller.signal });
        if (index % 5 === 4) return (await failure(started.result)) as Error;
        const { s } = await started.result;
        order.push(index);
        return s.tokens;
      };
      const results = await Promise.all(Array.from({ length: 20 }, (_, index) => run(index)));
      return { results, order };
    };
    const wanted = await all();
    const hour = 3_600_000;
    let looks = 0;
    const real = Date.now;
    vi.spyOn(Date, "now").mockImplementation(() => real() + hour * ((looks++ * 37) % 400) - 200 * hour);
    const jumping = await all();
    expect(jumping.results.map(String)).toEqual(wanted.results.map(String));
    expect(jumping.order.length).toBe(16);
    expect(await settled(() => model.stats())).toMatchObject({ blocksUsed: 0, segments: 0 });
    await model.close();
  });
});
