// SPDX-License-Identifier: Apache-2.0
// Branches on a real engine: one trunk for all, each as if it were alone, joined end to end; counted, not assumed.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Chain, Model, StageResult } from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import { failure } from "./failure.js";
import { loadTiny, passages, question, rowsOf, settled, until } from "./tiny-model.js";

let model: Model;
beforeAll(async () => {
  model = await loadTiny();
});
afterAll(() => model.close());

const stage = { maxTokens: 5, closers: ["<|endoftext|>"] };
const items = ["The ice.", "The lighthouse on the rock.", "The ice.", "Rails"];

/** A question to every item, then one answer over all branches. */
function overItems(list: readonly string[] | Promise<readonly string[]>, on = model) {
  return defineChain(on)
    .input("passages")
    .fanOut("votes", { items: () => list }, (branch) =>
      branch.input("item").stage("vote", { ...stage, prompt: { text: "Vote." }, opener: ":" }),
    )
    .join("pick", { ...stage, reads: ["votes"] });
}

describe("over items", () => {
  test("results in order, duplicates included; each branch gets what it gets alone", async () => {
    const { votes, pick } = await overItems(items).run({ passages }).result;
    expect(votes.map((one) => one.item.text)).toEqual(items);
    expect(votes[2]?.vote.tokens).toEqual(votes[0]?.vote.tokens);
    expect(pick.usage.tokens).toBe(5);
    for (const [index, item] of items.entries()) {
      const alone = await defineChain(model)
        .input("passages")
        .input("item")
        .stage("vote", { ...stage, prompt: { text: "Vote." }, opener: ":" })
        .run({ passages, item }).result;
      expect(votes[index]?.vote.tokens).toEqual(alone.vote.tokens);
    }
  });

  test("the trunk is computed once, the branches' rows once each, the last tokens with the join", async () => {
    const run = overItems(items).run({ passages });
    const { votes, pick } = await run.result;
    const p = rowsOf(model, passages);
    const mine = items.map((item) => rowsOf(model, item) + 1 + 4); // item, opener, tokens but the last
    expect(votes.map((one) => one.vote.usage.rowsComputed)).toEqual(
      mine.map((rows, index) => (index === 0 ? rows + p : rows)),
    );
    expect(pick.usage.rowsComputed).toBe(items.length + 1 + 4); // an owed row of every branch, opener, tokens
    expect(pick.usage.rowsReused).toBe(items.length * 5); // outputs without their owed rows; no items, no passages
  });

  test("no items: no branches, and a stage reads what there is", async () => {
    const { votes, end } = await defineChain(model)
      .input("passages")
      .fanOut("votes", { items: async () => [] }, (branch) => branch.input("item").stage("vote", stage))
      .stage("end", { ...stage, reads: ["passages", "votes"] })
      .run({ passages }).result;
    expect(votes).toEqual([]);
    expect(end.usage.rowsComputed).toBe(rowsOf(model, passages) + 1 + 4);
  });

  test("a branch may have steps of its own that run or not", async () => {
    const { parts, end } = await defineChain(model)
      .input("question")
      .fanOut("parts", { items: ({ question: asked }) => asked.text.split(" ").slice(0, 3) }, (branch) =>
        branch
          .input("word")
          .stage("first", stage)
          .when(
            "second",
            (_, { index, item }) => {
              expect(item).toBe(question.split(" ")[index]);
              return index === 1;
            },
            (inside) => inside.stage("again", stage),
          )
          .rounds("more", (round) => round.stage("turn", stage), {
            max: 3,
            until: (_, { round, index }) => round === index,
          }),
      )
      .stage("end", stage)
      .run({ question }).result;
    expect(parts.map((one) => one.more.rounds.length)).toEqual([1, 2, 3]);
    expect(parts.map((one) => one.second?.again.usage.tokens)).toEqual([undefined, 5, undefined]);
    expect(parts.map((one) => one.word.text)).toEqual(question.split(" ").slice(0, 3));
    const outputs = 3 + 1 + 6; // first, again, turns
    expect(end.usage.rowsReused).toBe(rowsOf(model, question) + outputs * 6 - 3);
  });
});

describe("samples", () => {
  const sampled = (samples: number, seed: number) =>
    defineChain(model)
      .input("question")
      .fanOut("votes", { samples }, (branch) =>
        branch.stage("vote", { ...stage, temperature: 1.5, topK: 40, seed, maxTokens: 12 }),
      );

  test("number i has the seed plus i, and what a stage with that seed gives alone", async () => {
    const { votes } = await sampled(4, 7).run({ question }).result;
    for (const [index, { vote }] of votes.entries()) {
      const alone = await defineChain(model)
        .input("question")
        .stage("vote", { ...stage, temperature: 1.5, topK: 40, seed: 7 + index, maxTokens: 12 })
        .run({ question }).result;
      expect(vote.tokens).toEqual(alone.vote.tokens);
    }
    expect(new Set(votes.map((one) => one.vote.tokens.join())).size).toBeGreaterThan(1);
  });

  test("samples of samples: no seed twice; the largest seed wraps around", async () => {
    const { outer } = await defineChain(model)
      .input("question")
      .fanOut("outer", { samples: 2 }, (branch) =>
        branch.fanOut("inner", { samples: 3 }, (deeper) =>
          deeper.stage("s", { ...stage, temperature: 1.5, seed: 2 ** 32 - 1, maxTokens: 12 }),
        ),
      )
      .run({ question }).result;
    const texts = outer.flatMap((one) => one.inner.map(({ s }) => s.tokens.join()));
    expect(texts).toHaveLength(6);
    expect(new Set(texts).size).toBe(6);
  });

  test.each([
    [8, 2],
    [4, 8],
  ])(
    "%i branches x %i stages read one trunk: its blocks exist once, its rows are computed once",
    async (branches, stages) => {
      const fresh = await loadTiny();
      const { blockRows } = fresh.info;
      const trunk = passages.repeat(4);
      let most = 0;
      const run = defineChain(fresh)
        .input("passages")
        .fanOut("votes", { samples: branches }, (branch) => {
          const names = Array.from({ length: stages }, (_, index) => `s${index}`);
          return names.reduce<Chain<"passages", string, never, never, unknown, string, never>>(
            (chain, name) => chain.stage(name, stage) as never,
            branch as never,
          ) as never;
        })
        .run({ passages: trunk });
      try {
        for await (const event of run) {
          if (event.type === "text-delta") most = Math.max(most, fresh.stats().blocksUsed);
        }
        const { votes } = await run.result;
        const rows = rowsOf(fresh, trunk);
        expect(rows).toBeGreaterThan(100);
        const usages = votes.flatMap((one) =>
          Object.values(one as Record<string, StageResult>).map((s) => s.usage),
        );
        expect(usages).toHaveLength(branches * stages);
        const computed = usages.reduce((sum, one) => sum + one.rowsComputed, 0);
        // an output: opener and tokens but the last, which the next stage feeds
        expect(computed).toBe(rows + branches * (1 + 4 + (stages - 1) * (1 + 1 + 4)));
        // whoever is first to need the trunk has computed it, all others have read it
        expect(usages.filter((one) => one.rowsReused < rows).map((one) => one.rowsComputed)).toEqual([
          rows + 1 + 4,
        ]);
        expect(most).toBeGreaterThan(Math.ceil(rows / blockRows));
        expect(most).toBeLessThanOrEqual(Math.ceil(rows / blockRows) + branches * stages); // a block for every output
        await settled(fresh);
        expect(fresh.stats()).toMatchObject({ usedBytes: 0, segments: 0 });
      } finally {
        await fresh.close();
      }
    },
  );
});

describe("at once", () => {
  test("branches generate in the same time: all have begun before one has ended", async () => {
    const run = overItems(items).run({ passages });
    const order: string[] = [];
    for await (const event of run) {
      if (event.type.startsWith("stage-") && event.stage.startsWith("votes")) order.push(event.type);
    }
    expect(order.slice(0, 4)).toEqual(Array.from({ length: 4 }, () => "stage-start"));
  });

  test("a budget too small for all branches at once: they wait for each other", async () => {
    const { blockBytes } = model.info;
    const small = await loadTiny({ cacheBytes: blockBytes * 12 });
    try {
      const { votes } = await defineChain(small)
        .input("question")
        .fanOut("votes", { samples: 6 }, (branch) => branch.stage("vote", { ...stage, maxTokens: 30 }))
        .run({ question }).result;
      const alone = await defineChain(small)
        .input("question")
        .stage("vote", { ...stage, maxTokens: 30 })
        .run({ question }).result;
      expect(votes.map((one) => one.vote.tokens)).toEqual(Array(6).fill(alone.vote.tokens));
    } finally {
      await small.close();
    }
  });
});

describe("what goes wrong", () => {
  test("a branch that throws: STEP_FAILED, the others stop, everything is freed", async () => {
    const fresh = await loadTiny();
    const cause = new Error("third time unlucky");
    const stopped: unknown[] = [];
    let waiting = 0; // branches whose function has begun
    const run = defineChain(fresh)
      .input("question")
      .fanOut("votes", { samples: 4 }, (branch) =>
        branch
          .stage("vote", { ...stage, maxTokens: 3 })
          .input("more", {
            from: async (_, { index, signal }) => {
              if (index === 2) {
                await until(() => waiting === 3);
                throw cause;
              }
              waiting += 1;
              signal.addEventListener("abort", () => stopped.push(signal.reason));
              return new Promise<string>(() => {});
            },
          })
          .stage("end", { ...stage, maxTokens: 400 }),
      )
      .run({ question });
    try {
      const error = await failure(run.result);
      expect(error).toMatchObject({ code: "STEP_FAILED", facts: { step: "votes[2].more" }, cause });
      await until(() => stopped.length === 3);
      expect(stopped).toEqual([error, error, error]);
      await settled(fresh);
      expect(fresh.stats()).toMatchObject({ usedBytes: 0, segments: 0 });
    } finally {
      await fresh.close();
    }
  });

  test("an abort while branches generate: the reason comes back and the pool is empty", async () => {
    const fresh = await loadTiny();
    const reason = new Error("enough");
    try {
      for (let turn = 0; turn < 10; turn++) {
        const controller = new AbortController();
        const run = defineChain(fresh)
          .input("question")
          .fanOut("votes", { samples: 5 }, (branch) => branch.stage("vote", { ...stage, maxTokens: 200 }))
          .run({ question }, { signal: controller.signal });
        const watch = async () => {
          let seen = 0;
          for await (const _ of run) if (seen++ === turn * 7) controller.abort(reason);
        };
        watch().catch(() => {}); // it fails as the result does
        expect(await failure(run.result)).toBe(reason);
        await settled(fresh);
        expect(fresh.stats()).toMatchObject({ usedBytes: 0, segments: 0 });
      }
    } finally {
      await fresh.close();
    }
  });

  test("branches of inputs alone, which no stage reads, ask for nothing of what stands before them", async () => {
    const result = await defineChain(model)
      .input("question")
      .stage("first", stage)
      .input("second", { from: () => "More of it." })
      .fanOut("votes", { items: () => ["one", "two"] }, (branch) => branch.input("item"))
      .run({ question }).result;
    expect(result.votes).toMatchObject([{ item: { text: "one" } }, { item: { text: "two" } }]);
  });

  test("many branches leave no warning about listeners", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on("warning", onWarning);
    await defineChain(model)
      .input("question")
      .fanOut("votes", { samples: 40 }, (branch) => branch.stage("vote", { ...stage, maxTokens: 2 }))
      .run({ question }).result;
    await new Promise((resolve) => setImmediate(resolve));
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
  });

  test.each([
    ["no list", "one, two", /value of type string/],
    ["nothing", undefined, /value of type undefined/],
    ["numbers", ["a", 7], /an item 1 of type number/],
    ["an empty text", ["a", ""], /an empty item 1/],
  ])("items that are %s", async (_, list, says) => {
    const error = await failure(overItems(list as never).run({ passages }).result);
    expect(error).toMatchObject({ code: "CHAIN_INVALID", facts: { step: "votes" } });
    expect(error.message).toMatch(says);
  });

  test("items that throw", async () => {
    const cause = new Error("no list today");
    const error = await failure(overItems(Promise.reject(cause)).run({ passages }).result);
    expect(error).toMatchObject({ code: "STEP_FAILED", facts: { step: "votes" }, cause });
  });

  test("a join of nothing: of no branches, of a condition that did not hold, of no names", async () => {
    const error = await failure(overItems([]).run({ passages }).result);
    expect(error).toMatchObject({
      code: "CHAIN_INVALID",
      facts: { step: "pick", available: ["votes"] },
    });
    expect(error.message).toMatch(/nothing to join: nothing ran in "votes"/);
    const none = defineChain(model)
      .input("question")
      .when(
        "w",
        () => false,
        (inside) => inside.stage("s", stage),
      )
      .join("pick", { reads: ["w"] });
    expect(await failure(none.run({ question }).result)).toMatchObject({ code: "CHAIN_INVALID" });
    expect(() => defineChain(model).input("q").join("pick", { reads: [] })).toThrow(
      expect.objectContaining({ code: "CHAIN_INVALID", facts: { step: "pick" } }),
    );
    expect(() =>
      defineChain(model)
        .input("q")
        .join("pick", {} as never),
    ).toThrow(expect.objectContaining({ code: "CHAIN_INVALID" }));
  });

  test("a join of two fan-outs, one without branches, joins the other", async () => {
    const { pick } = await defineChain(model)
      .input("question")
      .fanOut("none", { items: () => [] }, (branch) => branch.input("item").stage("a", stage))
      .fanOut("some", { samples: 2 }, (branch) => branch.stage("b", stage))
      .join("pick", { ...stage, reads: ["none", "some"] })
      .run({ question }).result;
    expect(pick.usage.rowsReused).toBe(2 * 5);
  });

  const fan = (options: unknown, body: unknown) => () =>
    defineChain(model)
      .input("q")
      .fanOut("f", options as never, body as never);
  type Branch = ReturnType<typeof defineChain>;
  const vote = (branch: Branch) => branch.stage("s");
  const voteItem = (branch: Branch) => branch.input("item").stage("s");
  test.each([
    ["samples 0", fan({ samples: 0 }, vote), "OPTION_INVALID"],
    ["samples 1.5", fan({ samples: 1.5 }, vote), "OPTION_INVALID"],
    ["neither", fan({}, vote), "OPTION_INVALID"],
    ["both", fan({ samples: 2, items: () => [] }, voteItem), "OPTION_INVALID"],
    ["items that are no function", fan({ items: ["a"] }, voteItem), "OPTION_INVALID"],
    ["an unknown option", fan({ samples: 2, max: 2 }, vote), "OPTION_INVALID"],
    ["samples with an input without value", fan({ samples: 2 }, voteItem), "CHAIN_INVALID"],
    ["items without an input for them", fan({ items: () => [] }, vote), "CHAIN_INVALID"],
    [
      "two inputs for an item",
      fan({ items: () => [] }, (branch: Branch) => branch.input("a").input("b").stage("s")),
      "CHAIN_INVALID",
    ],
    [
      "layout concatenated",
      () =>
        defineChain(model, { layout: "concatenated" }).fanOut("f", { samples: 2 }, (branch) =>
          branch.stage("s"),
        ),
      "CHAIN_INVALID",
    ],
  ])("%s", (_, define, code) => {
    expect(define).toThrow(expect.objectContaining({ code }));
  });
});

test("explain shows branches apart from each other, and all of them under a join", async () => {
  const explanation = await overItems([]).explain({ passages });
  const { groups, segments } = explanation;
  expect(groups).toEqual([{ group: "votes", runs: "one branch per item", shown: 8 }]);
  const readsOf = (name: string) =>
    segments.find((one) => one.segment === name)?.reads.map((one) => one.segment);
  expect(readsOf("votes[1].vote")).toEqual(["prompt of votes.vote", "passages", "votes[1].item"]);
  expect(readsOf("pick")).toEqual(Array.from({ length: 8 }, (_, index) => `votes[${index}].vote`));
  expect(explanation.draw("svg")).toContain("pick reads votes[7].vote at");
  expect(explanation.draw("mermaid")).toContain('"votes[7].vote"');
});
