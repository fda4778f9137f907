// SPDX-License-Identifier: Apache-2.0
// The first turn of given chains, decoded with guesses and without: the same texts, each turn once either way, so that
// whatever else goes on meets both.
import { type ForcedChain, visiblePieces } from "../chains/forced-chain.js";
import type { Samples, TrialSettings } from "../contract.js";
import type { Model } from "./chains/forcing.js";
import { readChains } from "./chains/measure.js";

const greedy = { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 0 };

interface Sum {
  ms: number;
  tokens: number;
}

/** The turn's text behind what it reads, in the engine's own milliseconds after its first token. */
async function decodeTurn(model: Model, chain: ForcedChain, drafting: "auto" | "off"): Promise<Sum> {
  const turn = chain.turns[0];
  if (turn === undefined) throw new Error("a chain without a turn");
  const reads = [];
  let rows = 0;
  for (const { tokens } of visiblePieces(chain, turn)) {
    const segment = model.engine.createSegment({ kind: "input", start: rows, reads: [...reads] });
    await model.engine.run({ appends: [{ segment, tokens: Int32Array.from(tokens) }], logits: "none" });
    model.engine.closeSegment(segment);
    reads.push({ segment, rows: tokens.length, shift: 0 });
    rows += tokens.length;
  }
  const segment = model.engine.createSegment({ kind: "output", start: rows, reads });
  const opener = Int32Array.from(model.tokenizer.encode("Evidence:", { specials: false }));
  const written: number[] = [];
  const { stats } = await model.engine.run(
    {
      appends: [{ segment, tokens: opener }],
      generate: {
        sampler: greedy,
        closers: new Int32Array(0),
        stops: [],
        maxTokens: turn.tokens.length,
        forced: Int32Array.from(turn.tokens),
        drafting,
      },
      logits: "none",
    },
    { onTokens: (ids) => written.push(...ids) },
  );
  for (const one of [segment, ...reads.map((read) => read.segment)]) model.engine.releaseSegment(one);
  if (written.some((id, i) => id !== turn.tokens[i])) throw new Error("another text was written");
  return { ms: stats.totalMs - stats.firstTokenMs, tokens: stats.tokens - 1 };
}

/** Tokens per second without and with guesses, and the share of the time that is left with them. */
export async function measureDrafting(model: Model, settings: TrialSettings): Promise<Samples> {
  const chains = readChains(settings);
  const [warmUp] = chains;
  if (warmUp === undefined) throw new Error("the trial was given no chains");
  await decodeTurn(model, warmUp, "auto");
  const sums = { off: { ms: 0, tokens: 0 }, auto: { ms: 0, tokens: 0 } };
  for (const chain of chains) {
    for (const drafting of ["off", "auto"] as const) {
      const one = await decodeTurn(model, chain, drafting);
      sums[drafting].ms += one.ms;
      sums[drafting].tokens += one.tokens;
    }
  }
  const { off, auto } = sums;
  return {
    decode: [(off.tokens * 1000) / off.ms],
    "decode-drafted": [(auto.tokens * 1000) / auto.ms],
    "drafted-time": [auto.ms / off.ms],
  };
}
