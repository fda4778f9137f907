// SPDX-License-Identifier: Apache-2.0
// The same chain under other prompts equals the chain that was defined with them, in every kind of step.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Model, PromptSource } from "../../src/index.js";
import { ChainInvalidError, defineChain } from "../../src/index.js";
import { loadTiny, passages, question } from "./tiny-model.js";

let model: Model;
beforeAll(async () => {
  model = await loadTiny();
});
afterAll(() => model.close());

const short = { maxTokens: 4, closers: ["<|endoftext|>"] };

/** Every kind of step that holds stages; `prompt` of every stage, none where it is absent. */
function chainOf(prompts: Readonly<Record<string, PromptSource>>) {
  const stage = (site: string) => {
    const prompt = prompts[site];
    return { ...short, ...(prompt === undefined ? {} : { prompt }) };
  };
  const inner = defineChain(model).input("text").stage("out", stage("sub.out"));
  return defineChain(model)
    .input("question")
    .stage("first", stage("first"))
    .rounds(
      "turns",
      (round) =>
        round.stage("think", stage("turns.think")).when(
          "doubt",
          () => true,
          (inside) => inside.stage("check", stage("turns.doubt.check")),
        ),
      { max: 2 },
    )
    .fanOut("votes", { samples: 2 }, (branch) => branch.stage("vote", stage("votes.vote")))
    .use("sub", inner, { text: () => passages })
    .join("last", { ...stage("last"), reads: ["votes"] });
}

const prompts = {
  first: { text: "One." },
  "turns.think": { text: "Two." },
  "turns.doubt.check": { text: "Three.", virtualTokens: 7 },
  "votes.vote": { text: "Four." },
  "sub.out": { text: "Five." },
  last: { text: "Six." },
} as const;

const tokensOf = async (chain: ReturnType<typeof chainOf>) => {
  const { first, turns, votes, sub, last } = await chain.run({ question }).result;
  const rounds = turns.rounds.flatMap((one) => [one.think.tokens, one.doubt?.check.tokens]);
  return [first.tokens, ...rounds, ...votes.map((one) => one.vote.tokens), sub.out.tokens, last.tokens];
};

describe("a chain with other prompts", () => {
  test("is the chain that was defined with them; the one it came from stays as it is", async () => {
    const bare = chainOf({});
    const before = await tokensOf(bare);
    const wanted = await tokensOf(chainOf(prompts));
    expect(await tokensOf(bare.withPrompts(prompts))).toEqual(wanted);
    expect(wanted).not.toEqual(before);
    expect(
      await tokensOf(chainOf({ ...prompts, last: { text: "Seven." } }).withPrompts({ last: prompts.last })),
    ).toEqual(wanted);
    expect(await tokensOf(bare.withPrompts({}))).toEqual(before);
    expect(await tokensOf(bare)).toEqual(before);
  });

  test("has only stages that are there, by the groups around them", () => {
    for (const name of ["think", "turns", "turns[0].think", "question"]) {
      const change = () => chainOf({}).withPrompts({ [name]: { text: "x" } } as never);
      expect(change).toThrow(ChainInvalidError);
      expect(change).toThrow(
        `There is no stage "${name}" to take a prompt. The chain's stages are first, turns.think, turns.doubt.check`,
      );
    }
  });
});
