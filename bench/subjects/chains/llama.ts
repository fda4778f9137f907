// SPDX-License-Identifier: Apache-2.0
// Measures llama.cpp's route through chains; rows are what node-llama-cpp's token meter counted.
import { type ForcedChain, promptRows, tokensOf, visiblePieces } from "../../chains/forced-chain.js";
import type { Samples, Task, TrialSettings } from "../../contract.js";
import { median } from "../../runner/statistics.js";
import { type ChainSequence, playBranches, playLine } from "./llama-routes.js";
import { readChains, warmUpChain } from "./measure.js";

export interface ChainContext {
  getSequence(): ChainSequence;
}

/** Opens a context with `sequences` sequences of `contextSize` tokens each. */
export type OpenContext = (contextSize: number, sequences: number) => Promise<ChainContext>;

/** Tokens of the longest turn with what it reads and its prompt, and some to spare. */
function contextFor(chains: readonly ForcedChain[]): number {
  const sizes = chains.flatMap((chain) =>
    chain.turns.map((turn) => tokensOf(visiblePieces(chain, turn)).length + turn.tokens.length),
  );
  return Math.max(...sizes) + promptRows + 64;
}

function metered(sequences: readonly ChainSequence[]): number {
  return sequences.reduce(
    (sum, { tokenMeter }) => sum + tokenMeter.usedInputTokens + tokenMeter.usedOutputTokens,
    0,
  );
}

async function measureLines(sequence: ChainSequence, chains: ForcedChain[]): Promise<Samples> {
  const before = metered([sequence]);
  const handOvers: number[] = [];
  let total = 0;
  for (const chain of chains) {
    await sequence.clearHistory();
    const start = performance.now();
    const times = await playLine(sequence, chain);
    total += performance.now() - start;
    const [previous, last] = times.slice(-2);
    if (previous !== undefined && last !== undefined) handOvers.push(last.first - previous.end);
  }
  const rows = (metered([sequence]) - before) / chains.length;
  return { time: [total / chains.length], "hand-over": [median(handOvers)], rows: [rows] };
}

async function measureBranches(sequences: ChainSequence[], chains: ForcedChain[]): Promise<Samples> {
  const samples = { time: [] as number[], rows: [] as number[] };
  for (const chain of chains) {
    for (const sequence of sequences) await sequence.clearHistory();
    const before = metered(sequences);
    const start = performance.now();
    await playBranches(sequences, chain);
    samples.time.push(performance.now() - start);
    samples.rows.push(metered(sequences) - before);
  }
  return samples;
}

/** `openContext` starts llama.cpp with the settings' model and threads. */
export async function measureLlamaChains(
  task: Task,
  settings: TrialSettings,
  openContext: OpenContext,
): Promise<Samples> {
  const chains = readChains(settings);
  const branches = task.kind === "fan-out" ? Math.max(...chains.map(({ turns }) => turns.length)) : 1;
  const context = await openContext(contextFor(chains), branches);
  const sequences = Array.from({ length: branches }, () => context.getSequence());
  const [first] = sequences;
  if (first === undefined) throw new Error("no sequence");
  await playLine(first, warmUpChain(chains));
  return task.kind === "fan-out" ? measureBranches(sequences, chains) : measureLines(first, chains);
}
