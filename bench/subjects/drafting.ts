// SPDX-License-Identifier: Apache-2.0
// The first turn of given chains, decoded with guesses and without: the same texts, each turn once either way, so that
// whatever else goes on meets both.
import { type ForcedChain, type Turn, visiblePieces } from "../chains/forced-chain.js";
import type { Samples, TrialSettings } from "../contract.js";
import { readChains } from "./chains/measure.js";
import { greedy, type Model, type Segment } from "./engine.js";

interface Sum {
  ms: number;
  tokens: number;
}

type Reads = { segment: Segment; rows: number; shift: number }[];

/** What the turn reads, computed; its rows together. */
async function readsOf(
  model: Model,
  chain: ForcedChain,
  turn: Turn,
): Promise<{ reads: Reads; rows: number }> {
  const reads: Reads = [];
  let rows = 0;
  for (const { tokens } of visiblePieces(chain, turn)) {
    const segment = model.engine.createSegment({ kind: "input", start: rows, reads: [...reads] });
    await model.engine.run({ appends: [{ segment, tokens: Int32Array.from(tokens) }], logits: "none" });
    model.engine.closeSegment(segment);
    reads.push({ segment, rows: tokens.length, shift: 0 });
    rows += tokens.length;
  }
  return { reads, rows };
}

function firstTurn(chain: ForcedChain): Turn {
  const [turn] = chain.turns;
  if (turn === undefined) throw new Error("a chain without a turn");
  return turn;
}

interface Written {
  ids: number[];
  stats: Awaited<ReturnType<Model["engine"]["run"]>>["stats"];
}

/** An output behind `reads`: `forced`, or what the model likes where that is null. */
async function write(
  model: Model,
  { reads, rows }: { reads: Reads; rows: number },
  { forced, maxTokens }: { forced: readonly number[] | null; maxTokens: number },
  drafting: "auto" | "off",
): Promise<Written> {
  const segment = model.engine.createSegment({ kind: "output", start: rows, reads });
  const opener = Int32Array.from(model.tokenizer.encode("Evidence:", { specials: false }));
  const ids: number[] = [];
  const { stats } = await model.engine.run(
    {
      appends: [{ segment, tokens: opener }],
      generate: {
        ...{ sampler: greedy, closers: new Int32Array(0), stops: [], maxTokens, drafting },
        ...(forced === null ? {} : { forced: Int32Array.from(forced) }),
      },
      logits: "none",
    },
    { onTokens: (some) => ids.push(...some) },
  );
  model.engine.releaseSegment(segment);
  return { ids, stats };
}

const areSame = (a: readonly number[], b: readonly number[]) =>
  a.length === b.length && a.every((id, at) => id === b[at]);

/** The turn's text behind what it reads, in the engine's own milliseconds after its first token. */
async function decodeTurn(model: Model, chain: ForcedChain, drafting: "auto" | "off"): Promise<Sum> {
  const turn = firstTurn(chain);
  const context = await readsOf(model, chain, turn);
  const text = { forced: turn.tokens, maxTokens: turn.tokens.length };
  const { ids, stats } = await write(model, context, text, drafting);
  for (const { segment } of context.reads) model.engine.releaseSegment(segment);
  if (!areSame(ids, turn.tokens)) throw new Error("another text was written");
  return { ms: stats.totalMs - stats.firstTokenMs, tokens: stats.tokens - 1 };
}

/** The share of outputs that have the same tokens with guesses as without, of a model that was opened with batchInvariant. */
export async function shareOfSame(model: Model, settings: TrialSettings, count: number): Promise<number> {
  const chains = readChains(settings).slice(0, count);
  let same = 0;
  for (const chain of chains) {
    const context = await readsOf(model, chain, firstTurn(chain));
    const text = { forced: null, maxTokens: 64 };
    const drafted = await write(model, context, text, "auto");
    const plain = await write(model, context, text, "off");
    if (areSame(drafted.ids, plain.ids)) same += 1;
    for (const { segment } of context.reads) model.engine.releaseSegment(segment);
  }
  return same / chains.length;
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
