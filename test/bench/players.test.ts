// SPDX-License-Identifier: Apache-2.0
// The three ways of our engine through a chain, on the small model: they write what they are given, and the engine
// counts the rows that their definitions say.
import { afterEach, describe, expect, it } from "vitest";
import type { ForcedChain, Piece, Turn } from "../../bench/chains/forced-chain.js";
import { Forcing, seedOf } from "../../bench/subjects/chains/forcing.js";
import { warmUpChain } from "../../bench/subjects/chains/measure.js";
import type { Player, Stage } from "../../bench/subjects/chains/players.js";
import { prefixedPlayer, recomputedPlayer, sharedPlayer } from "../../bench/subjects/chains/players.js";
import * as library from "../../src/index.js";
import { loadTiny, passages, question } from "../chain/tiny-model.js";

const open: library.Model[] = [];
afterEach(async () => {
  for (const model of open.splice(0)) await model.close();
});

/** A player whose prompts are computed, and a function that gives the rows computed since then. */
async function ready(makePlayer: (stage: Stage) => Player, build: (piece: MakePiece) => ForcedChain) {
  const model = await loadTiny();
  open.push(model);
  const stage: Stage = { library, model, forcing: new Forcing(model) };
  const player = makePlayer(stage);
  const chain = build((name, text) => {
    return { name, text, tokens: [...model.tokenizer.encode(text, { specials: false })] };
  });
  await player.line(warmUpChain([chain]), 0);
  const before = model.cache.stats().rowsComputed;
  return { stage, player, chain, rows: () => model.cache.stats().rowsComputed - before };
}

type MakePiece = (name: string, text: string) => Piece;

const gold = (piece: Piece, fields: Partial<Turn>): Turn => {
  return { ...piece, role: piece.name, reads: [], own: [], closes: true, ...fields };
};

const compressAnswer = (piece: MakePiece): ForcedChain => ({
  inputs: [piece("question", question), piece("passages", passages)],
  turns: [
    gold(piece("compress", " It freezes for eleven weeks."), { reads: ["question"], own: ["passages"] }),
    gold(piece("answer", " eleven weeks"), { reads: ["question", "compress"] }),
  ],
});

const rounds = (piece: MakePiece): ForcedChain => ({
  inputs: [piece("question", question)],
  turns: ["reason", "recall", "reason", "recall", "reason"].map((role, i) => {
    const before = Array.from({ length: i }, (_, j) => `turn${j}`);
    return gold(piece(`turn${i}`, ` Fact ${i}: ice.`), { role, reads: ["question", ...before] });
  }),
});

/** Tokens of all pieces, or of those named. */
function tokens({ inputs, turns }: ForcedChain, ...names: string[]): number {
  const counted = [...inputs, ...turns].filter(({ name }) => names.length === 0 || names.includes(name));
  return counted.reduce((sum, one) => sum + one.tokens.length, 0);
}

describe("a line of turns", () => {
  it("shared: every text is computed once, and an opener for each turn without own inputs", async () => {
    const { stage, player, chain, rows } = await ready(sharedPlayer, compressAnswer);
    await player.line(chain, 1);
    expect(rows()).toBe(tokens(chain) + 1);
    expect(stage.forcing.between(seedOf(1, 0), seedOf(1, 1))).toBeGreaterThan(0);
  });

  it("recomputed: every turn computes what it reads and what it writes", async () => {
    const { player, chain, rows } = await ready(recomputedPlayer, compressAnswer);
    await player.line(chain, 1);
    expect(rows()).toBe(tokens(chain) + tokens(chain, "question", "compress"));
  });

  it("prefixed: a role computes nothing twice, but for one row of its prompt", async () => {
    const { player, chain, rows } = await ready(prefixedPlayer, rounds);
    await player.line(chain, 1);
    const reasons = tokens(chain);
    const recalls = reasons - tokens(chain, "turn4");
    expect(rows()).toBe(recalls + reasons + 2);
  });
});

const branches = (piece: MakePiece): ForcedChain => ({
  inputs: [piece("trunk", passages)],
  turns: [" one way of it", " the other way", " neither"].map((text, i) =>
    gold(piece(`branch${i}`, text), { role: "branch", reads: ["trunk"] }),
  ),
});

describe("branches", () => {
  it("shared: one trunk, and an opener a branch", async () => {
    const { player, chain, rows } = await ready(sharedPlayer, branches);
    await player.branches(chain, 1);
    expect(rows()).toBe(tokens(chain) + 3);
  });

  it("recomputed: a trunk a branch", async () => {
    const { player, chain, rows } = await ready(recomputedPlayer, branches);
    await player.branches(chain, 1);
    expect(rows()).toBe(tokens(chain) + 2 * tokens(chain, "trunk"));
  });

  it("prefixed: one trunk, its last row once a branch", async () => {
    const { player, chain, rows } = await ready(prefixedPlayer, branches);
    await player.branches(chain, 1);
    expect(rows()).toBe(1 + tokens(chain) + 2);
  });
});

it("what a subject writes is held against what it was given", async () => {
  const { stage, player, chain } = await ready(sharedPlayer, compressAnswer);
  stage.forcing.give = () => {}; // the model's own choice is something else
  await expect(player.line(chain, 1)).rejects.toThrow(/turn compress was given \d+ tokens/);
});
