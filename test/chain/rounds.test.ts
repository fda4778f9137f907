// SPDX-License-Identifier: Apache-2.0
// Rounds on a real engine: who reads which turns, what is computed once, when they stop, what is freed.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Chain, Model } from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import { failure } from "./failure.js";
import { loadTiny, passages, question, rowsOf, settled, until } from "./tiny-model.js";

let model: Model;
beforeAll(async () => {
  model = await loadTiny();
});
afterAll(() => model.close());

/** A chain whose names the compiler does not know. */
type Builder = Chain<string, string, string, string>;

const closers = ["<|endoftext|>"];
const stage = { maxTokens: 4, closers };

/** recall <-> reason, then an answer that reads all of it. */
function debate(max: number, stop?: number) {
  return defineChain(model)
    .input("question")
    .rounds(
      "debate",
      (round) =>
        round
          .stage("recall", { ...stage, prompt: { text: "Recall it." } })
          .stage("reason", { ...stage, prompt: { text: "Reason about it." }, opener: ";" }),
      {
        max,
        until: (results, { round }) => {
          expect(results.question.text).toBe(question);
          expect(results.debate.rounds).toHaveLength(round + 1);
          expect(results.debate.rounds[round]?.reason).toBe(results.reason);
          return round === stop;
        },
      },
    )
    .stage("answer", stage);
}

describe("rounds", () => {
  test("every output reads all earlier ones, in order of turns; each row is computed once", async () => {
    const q = rowsOf(model, question);
    const run = debate(3).run({ question });
    const hits: [string, string, number][] = [];
    for await (const event of run) {
      if (event.type === "cache-hit" && !event.segment.startsWith("prompt"))
        hits.push([event.stage, event.segment, event.rows]);
    }
    const { debate: result, answer } = await run.result;
    expect(result.stopped).toBe("max");
    expect(result.rounds).toHaveLength(3);
    // opener and 4 tokens; the last token is fed by the stage that follows
    const readsOf = (stage: string) => hits.filter(([one]) => one === stage).map(([, ...read]) => read);
    expect(readsOf("debate[0].recall")).toEqual([]);
    expect(readsOf("debate[1].recall")).toEqual([
      ["question", q],
      ["debate[0].recall", 5],
      ["debate[0].reason", 4],
    ]);
    expect(readsOf("debate[2].reason")).toEqual([
      ["question", q],
      ["debate[0].recall", 5],
      ["debate[0].reason", 5],
      ["debate[1].recall", 5],
      ["debate[1].reason", 5],
      ["debate[2].recall", 4],
    ]);
    expect(answer.usage.rowsReused).toBe(q + 6 * 5 - 1);
    const [first, second, third] = result.rounds;
    expect(second?.recall.usage.rowsComputed).toBe(1 + 1 + 3); // owed token, opener, its own tokens but the last
    expect(third?.reason.usage.rowsComputed).toBe(1 + 1 + 3);
    expect(first?.recall.usage.rowsComputed).toBe(q + rowsOf(model, "Recall it.") + 1 + 3);
    await settled(model);
    expect(model.stats().segments).toBe(2); // the prompts, kept for the next run
  });

  test("equal the same chain written out, token by token", async () => {
    const { debate: rounds, answer } = await debate(2).run({ question }).result;
    const recall = { ...stage, prompt: { text: "Recall it." } };
    const reason = { ...stage, prompt: { text: "Reason about it." }, opener: ";" };
    const plain = await defineChain(model)
      .input("question")
      .stage("recall0", recall)
      .stage("reason0", reason)
      .stage("recall1", recall)
      .stage("reason1", reason)
      .stage("answer", stage)
      .run({ question }).result;
    expect(rounds.rounds.map((one) => [one.recall.tokens, one.reason.tokens])).toEqual([
      [plain.recall0.tokens, plain.reason0.tokens],
      [plain.recall1.tokens, plain.reason1.tokens],
    ]);
    expect(answer.tokens).toEqual(plain.answer.tokens);
  });

  test.each([
    [0, 1, "until"],
    [1, 2, "until"],
    [2, 3, "until"], // the condition is asked after the last round too
    [9, 3, "max"],
  ])("a condition that holds after round %i of 3: %i rounds, %s", async (stop, count, stopped) => {
    const result = await debate(3, stop).run({ question }).result;
    expect(result.debate.rounds).toHaveLength(count);
    expect(result.debate.stopped).toBe(stopped);
    // the rounds that did not run are in nobody's frame
    expect(result.answer.usage.rowsReused).toBe(rowsOf(model, question) + count * 10 - 1);
  });

  test("a promise as condition changes no token", async () => {
    const head = defineChain(model).input("question");
    const chain = (until: () => boolean | Promise<boolean>) =>
      head.rounds("r", (one) => one.stage("s", stage), { max: 3, until }).stage("end", stage);
    const now = await chain(() => false).run({ question }).result;
    const later = await chain(async () => {
      await new Promise((resolve) => setTimeout(resolve, 3));
      return false;
    }).run({ question }).result;
    expect(later.r.rounds.map((one) => one.s.tokens)).toEqual(now.r.rounds.map((one) => one.s.tokens));
    expect(later.end.tokens).toEqual(now.end.tokens);
  });

  test("inputs of a round are computed with what is known, earlier rounds included", async () => {
    const seen: number[] = [];
    const { search } = await defineChain(model)
      .input("question")
      .rounds(
        "search",
        (one) =>
          one
            .input("evidence", {
              from: ({ search, question: asked }, { round }) => {
                seen.push(search.rounds.length);
                expect(search.rounds.every((earlier) => earlier.critique?.text !== undefined)).toBe(true);
                return `${asked.text} ${round}`;
              },
            })
            .stage("critique", { ...stage, reads: ["evidence", "search"], own: [] }),
        { max: 3 },
      )
      .run({ question }).result;
    expect(seen).toEqual([0, 1, 2]);
    expect(search.rounds.map((one) => one.evidence.text)).toEqual([0, 1, 2].map((n) => `${question} ${n}`));
    // `search` inside means the rounds before, `evidence` all that there is of it
    const rows = [0, 1, 2].map((n) => rowsOf(model, `${question} ${n}`));
    expect(search.rounds[2]?.critique.usage.rowsReused).toBe((rows[0] ?? 0) + (rows[1] ?? 0) + 5 + 5);
  });

  test("a stage in rounds may own an input from before: written afresh under every turn, read by nobody else", async () => {
    const { r, end } = await defineChain(model)
      .input("question")
      .input("passages")
      .rounds("r", (one) => one.stage("s", { ...stage, own: ["passages"] }), { max: 2 })
      .stage("end", stage)
      .run({ question, passages }).result;
    const p = rowsOf(model, passages);
    const q = rowsOf(model, question);
    expect(r.rounds.map((one) => one.s.usage.rowsComputed)).toEqual([q + p + 3, 1 + p + 3]);
    expect(end.usage.rowsReused).toBe(q + 4 + 3);
  });

  test("the concatenated layout, with a prompt each", async () => {
    const { debate: result } = await defineChain(model, { layout: "concatenated" })
      .input("question")
      .input("unread")
      .rounds("debate", (one) => one.stage("s", { ...stage, reads: ["question"], prompt: { text: "Go." } }), {
        max: 2,
      })
      .run({ question, unread: passages }).result;
    expect(result.rounds.map((one) => one.s.usage.tokens)).toEqual([4, 4]);
  });
});

describe("release", () => {
  test("what no later round can read goes; what one can read stays", async () => {
    const fresh = await loadTiny();
    const held: number[] = [];
    const expected = [0, 2, 3]; // nothing yet; the question and every `a`, but no `b`
    const chain = defineChain(fresh)
      .input("question")
      .rounds(
        "r",
        (one) =>
          one
            .input("pause", {
              alone: true,
              from: async (_, { round }) => {
                await until(() => fresh.stats().segments === expected[round]);
                held.push(fresh.stats().segments);
                return "go on";
              },
            })
            .stage("a", { ...stage, reads: ["question"] })
            .stage("b", { ...stage, reads: ["a"] }),
        { max: 3 },
      );
    try {
      await chain.run({ question }).result;
      expect(held).toEqual(expected);
      await settled(fresh);
      expect(fresh.stats()).toMatchObject({ usedBytes: 0, segments: 0 });
    } finally {
      await fresh.close();
    }
  });

  test("rows owed to a round that does not run are never computed", async () => {
    const chain = (max: number) =>
      defineChain(model)
        .input("question")
        .rounds("r", (one) => one.stage("s", stage), { max, until: (_, { round }) => round === 1 })
        .stage("end", { ...stage, reads: ["question"] });
    const two = await chain(2).run({ question }).result;
    const more = await chain(9).run({ question }).result;
    expect(two.r.stopped).toBe("until");
    // the third round would have fed the last token of the second
    expect(more.end.usage).toMatchObject({
      rowsComputed: two.end.usage.rowsComputed,
      rowsReused: rowsOf(model, question),
    });
    expect(more.end.tokens).toEqual(two.end.tokens);
  });
});

describe("what goes wrong", () => {
  test("a condition that throws: STEP_FAILED with the cause, everything freed", async () => {
    const cause = new Error("no opinion");
    for (const until of [
      () => {
        throw cause;
      },
      () => Promise.reject(cause),
    ]) {
      const chain = defineChain(model)
        .input("question")
        .rounds("r", (one) => one.stage("s", stage), { max: 3, until });
      const error = await failure(chain.run({ question }).result);
      expect(error).toMatchObject({ code: "STEP_FAILED", facts: { step: "r" }, cause });
      expect(error.message).toMatch(/`until` condition of "r" failed: no opinion/);
    }
  });

  test.each([[undefined], [1], ["yes"]])("a condition that returns %j", async (value) => {
    const chain = defineChain(model)
      .input("question")
      .rounds("r", (one) => one.stage("s", stage), { max: 3, until: () => value as never });
    expect(await failure(chain.run({ question }).result)).toMatchObject({
      code: "CHAIN_INVALID",
      facts: { step: "r" },
    });
  });

  test("an abort in the middle of a later round", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const run = defineChain(model)
      .input("question")
      .rounds("r", (one) => one.stage("s", { closers, maxTokens: 60 }), { max: 9 })
      .run({ question }, { signal: controller.signal });
    const before = model.stats().segments; // prompts, kept for the next run
    for await (const event of run) {
      if (event.type === "text-delta" && event.stage === "r[1].s") {
        controller.abort(reason);
        break;
      }
    }
    expect(await failure(run.result)).toBe(reason);
    await until(() => model.stats().segments === before);
    expect(model.stats().segments).toBe(before);
  });

  test.each([
    ["max 0", () => defineChain(model).rounds("r", (one) => one.stage("s"), { max: 0 }), "OPTION_INVALID"],
    [
      "no options",
      () => defineChain(model).rounds("r", (one) => one.stage("s"), {} as never),
      "OPTION_INVALID",
    ],
    [
      "until true",
      () => defineChain(model).rounds("r", (one) => one.stage("s"), { max: 1, until: true as never }),
      "OPTION_INVALID",
    ],
    ["no steps", () => defineChain(model).rounds("r", (one) => one, { max: 1 }), "CHAIN_INVALID"],
    ["no builder", () => defineChain(model).rounds("r", (() => 1) as never, { max: 1 }), "CHAIN_INVALID"],
    [
      "another builder",
      () => defineChain(model).rounds("r", (() => defineChain(model).stage("s")) as never, { max: 1 }),
      "CHAIN_INVALID",
    ],
    [
      "an input without value inside",
      () => defineChain(model).rounds("r", ((one: Builder) => one.input("i")) as never, { max: 1 }),
      "CHAIN_INVALID",
    ],
    [
      "a name from around the group",
      () =>
        defineChain(model)
          .input("s")
          .rounds("r", ((one: Builder) => one.stage("s")) as never, { max: 1 }),
      "CHAIN_INVALID",
    ],
    [
      "its own name",
      () => defineChain(model).rounds("r", ((one: Builder) => one.stage("r")) as never, { max: 1 }),
      "CHAIN_INVALID",
    ],
    [
      "a name from inside, outside",
      () =>
        (defineChain(model).rounds("r", (one) => one.stage("s"), { max: 1 }) as unknown as Builder).stage(
          "t",
          {
            reads: ["s"],
          },
        ),
      "CHAIN_INVALID",
    ],
  ])("%s", (_, define, code) => {
    expect(define).toThrow(expect.objectContaining({ code }));
  });

  test("the steps of a group are no chain", async () => {
    let inside: unknown;
    defineChain(model).rounds(
      "r",
      (one) => {
        inside = one;
        return one.stage("s");
      },
      { max: 1 },
    );
    expect(() => (inside as ReturnType<typeof defineChain>).run({})).toThrow(
      expect.objectContaining({ code: "CHAIN_INVALID", facts: { step: "r" } }),
    );
  });
});

describe("explain", () => {
  test("lists rounds as far as there are some, at most eight, and says how many may run", async () => {
    const chain = debate(20);
    const explanation = await chain.explain({ question });
    const { segments, groups } = explanation;
    expect(groups).toEqual([{ group: "debate", runs: "up to 20 rounds", shown: 8 }]);
    expect(segments.filter((one) => one.segment.endsWith("].reason"))).toHaveLength(8);
    const second = segments.find((one) => one.segment === "debate[1].recall");
    const q = rowsOf(model, question);
    expect(second?.reads.map((one) => [one.segment, one.at.text])).toEqual([
      ["prompt of debate.recall", `-${rowsOf(model, "Recall it.")}`],
      ["question", "0"],
      ["debate[0].recall", String(q)],
      ["debate[0].reason", `${q} + |debate[0].recall|`],
    ]);
    expect(second?.opener).toEqual(["<|im_start|>"]);
    expect(String(explanation)).toContain("debate: up to 20 rounds");
    expect((await debate(2).explain()).segments.filter((one) => one.kind === "output")).toHaveLength(5);
  });
});
