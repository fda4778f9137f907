// SPDX-License-Identifier: Apache-2.0
// llama.cpp's route through a chain, by way of node-llama-cpp. It takes no soft prompts: each role's prompt is replaced
// by as many text tokens, placed last, so that everything before it is a prefix that is found again. Outputs are forced
// through the iterator of evaluate(), which takes a token in place of the sampled one: a step costs what it costs in
// generation, sampling included.
import type { ForcedChain, Turn } from "../../chains/forced-chain.js";
import { checkWritten, promptRows, tokensOf, visiblePieces } from "../../chains/forced-chain.js";
import { tokenIds } from "../../tokens.js";

/** What is used of node-llama-cpp's sequence. */
export interface ChainSequence {
  readonly contextTokens: readonly number[];
  readonly tokenMeter: { readonly usedInputTokens: number; readonly usedOutputTokens: number };
  evaluate(tokens: number[], options: object): AsyncGenerator<number, void, number | undefined>;
  evaluateWithoutGeneratingNewTokens(tokens: number[]): Promise<void>;
  compareContextTokens(tokens: number[]): { firstDifferentIndex: number };
  eraseContextTokenRanges(ranges: { start: number; end: number }[]): Promise<void>;
  clearHistory(): Promise<void>;
  /** The only way to copy a sequence's state; not public. */
  _copyStateFromOtherSequence(other: ChainSequence, upToTokenIndex: number): Promise<boolean>;
}

// Greedy, as ours; an end-of-generation token must not end the measurement.
const greedy = { temperature: 0, yieldEogToken: true };

/** ms of performance.now(). */
export interface TurnTimes {
  first: number;
  end: number;
}

/** Token ids that stand for a role's prompt. */
function standIn(role: string): number[] {
  return tokenIds(
    promptRows,
    [...role].reduce((sum, char) => sum * 31 + char.charCodeAt(0), 7),
  );
}

/** Cuts the sequence where it differs from `wanted`; returns what is missing, its last token at least. */
async function keepPrefix(sequence: ChainSequence, wanted: number[]): Promise<number[]> {
  const { firstDifferentIndex } = sequence.compareContextTokens(wanted);
  const start = Math.min(firstDifferentIndex, wanted.length - 1);
  const end = sequence.contextTokens.length;
  if (start < end) await sequence.eraseContextTokenRanges([{ start, end }]);
  return wanted.slice(start);
}

/** Generates the turn behind `tokens`, which end the context so far. */
async function write(sequence: ChainSequence, tokens: number[], turn: Turn): Promise<TurnTimes> {
  const steps = sequence.evaluate(tokens, greedy);
  const times = { first: 0, end: 0 };
  await steps.next();
  times.first = performance.now();
  // One choice is behind us. With a closing token, every token of the turn becomes a row and is followed by a choice.
  const rows = turn.closes ? turn.tokens : turn.tokens.slice(0, -1);
  for (const token of rows) await steps.next(token);
  times.end = performance.now();
  await steps.return();
  const written = sequence.contextTokens.slice(sequence.contextTokens.length - rows.length);
  checkWritten({ ...turn, tokens: rows }, written);
  return times;
}

/**
 * Turns one after another in one sequence. What an earlier turn wrote stands behind its prompt and is read again, with
 * the next prompt. To erase the prompt and move what follows (a context shift) is no faster: 21.9 s and 25.1 s against
 * 20.2 s and 22.2 s for four stages over 2,000 rows.
 */
export async function playLine(sequence: ChainSequence, chain: ForcedChain): Promise<TurnTimes[]> {
  const times: TurnTimes[] = [];
  for (const turn of chain.turns) {
    const wanted = [...tokensOf(visiblePieces(chain, turn)), ...standIn(turn.role)];
    times.push(await write(sequence, await keepPrefix(sequence, wanted), turn));
  }
  return times;
}

/**
 * A sequence per branch, each with a copy of the state behind the trunk and its prompt; they decode in one batch. One
 * sequence that goes back to the trunk for every branch is slower (9.7 s against 7.7 s for 8 branches of 32 tokens behind
 * 2,050 rows).
 */
export async function playBranches(sequences: readonly ChainSequence[], chain: ForcedChain): Promise<void> {
  const [first, ...others] = sequences;
  const [turn] = chain.turns;
  if (first === undefined || turn === undefined) throw new Error("no branches");
  const trunk = [...tokensOf(visiblePieces(chain, turn)), ...standIn(turn.role)];
  const last = trunk.pop() as number;
  await first.evaluateWithoutGeneratingNewTokens(trunk);
  for (const other of others) {
    if (!(await other._copyStateFromOtherSequence(first, trunk.length)))
      throw new Error("state was not copied");
  }
  await Promise.all(chain.turns.map((one, i) => write(sequences[i] as ChainSequence, [last], one)));
}
