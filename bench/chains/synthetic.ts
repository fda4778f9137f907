// SPDX-License-Identifier: Apache-2.0
// Chains of exact lengths. Their texts are words of one token each, so that a text of n words is n rows for everybody,
// as text and as ids.
import type { ChainSources, ForcedChain, Piece } from "./forced-chain.js";

const candidates =
  "the of and to in is was for on that by with as at from are this be it an were which have had their not but has they one " +
  "all who been when more some would about other time people new first two after world years most state city water house day";

/** Words that are one token each behind a space. */
function singleTokenWords({ encode }: ChainSources): string[] {
  const words = candidates.split(" ").filter((word) => encode(` ${word}`).length === 1);
  if (words.length < 8) throw new Error("this tokenizer has hardly a word of one token");
  return words;
}

/** A piece of exactly `rows` tokens; `seed` gives another text. */
export function pieceOf(sources: ChainSources, name: string, rows: number, seed: number): Piece {
  const words = singleTokenWords(sources);
  let state = seed >>> 0;
  let text = "";
  for (let i = 0; i < rows; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    text += ` ${words[(state >>> 8) % words.length]}`;
  }
  const tokens = sources.encode(text);
  if (tokens.length !== rows) throw new Error(`${rows} words gave ${tokens.length} tokens`);
  return { name, text, tokens };
}

/** `stages` roles over one context; each reads the context and every output before it. */
export function stagesChain(
  sources: ChainSources,
  { context, stages, tokens }: { context: number; stages: number; tokens: number },
): ForcedChain {
  const names = Array.from({ length: stages }, (_, i) => `stage${i + 1}`);
  return {
    inputs: [pieceOf(sources, "context", context, 1)],
    turns: names.map((name, i) => ({
      ...pieceOf(sources, name, tokens, i + 2),
      role: `role${i + 1}`,
      reads: ["context", ...names.slice(0, i)],
      own: [],
      closes: false,
    })),
  };
}

/** Chains of compress -> answer: the answer stage reads `read` rows, of which 16 are the question's. */
export function trainingChains(
  sources: ChainSources,
  { count, read, written }: { count: number; read: number; written: number },
): ForcedChain[] {
  const question = 16;
  return Array.from({ length: count }, (_, at) => {
    const piece = (name: string, rows: number, part: number) => pieceOf(sources, name, rows, 10 * at + part);
    const turn = { role: "role", own: [], closes: false };
    return {
      inputs: [piece("question", question, 1), piece("passages", question, 2)],
      turns: [
        { ...piece("compress", read - question, 3), ...turn, reads: ["question"], own: ["passages"] },
        { ...piece("answer", written, 4), ...turn, reads: ["question", "compress"] },
      ],
    };
  });
}

/** One role over one trunk, `branches` times. */
export function fanOutChain(
  sources: ChainSources,
  { trunk, branches, tokens }: { trunk: number; branches: number; tokens: number },
): ForcedChain {
  return {
    inputs: [pieceOf(sources, "trunk", trunk, 1)],
    turns: Array.from({ length: branches }, (_, i) => ({
      ...pieceOf(sources, `branch${i + 1}`, tokens, i + 2),
      role: "branch",
      reads: ["trunk"],
      own: [],
      closes: false,
    })),
  };
}
