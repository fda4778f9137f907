// SPDX-License-Identifier: Apache-2.0
// Chains of the evaluation data: gold texts in place of generated ones. The data is read where it lies; it is not part
// of the project.
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import type { ChainSources, ForcedChain, Piece, Turn } from "./forced-chain.js";

/** A case cannot run for want of data; its message says what to give. */
export class MissingData extends Error {}

export interface RecallReasonItem {
  question: string;
  /** Absent: only the question is known. */
  rounds?: { stage: string; text: string }[];
}

export interface CompressAnswerItem {
  question: string;
  passages: string;
  evidence: string;
  answer: string;
}

const allSplits = ["train", "dev", "test"] as const;

/** Items of the splits that are there, in order. Throws MissingData if none is. */
export function readItems<T>(
  { data }: Pick<ChainSources, "data">,
  set: string,
  splits: readonly (typeof allSplits)[number][] = allSplits,
): T[] {
  if (data === undefined)
    throw new MissingData(`needs the folder that holds ${set}: give --data DIR or set BATON_DATA`);
  const files = splits.map((split) => path.join(data, set, `${split}.jsonl`));
  const there = files.filter((file) => existsSync(file));
  if (there.length === 0) {
    const names = splits.map((split) => `${split}.jsonl`).join(" or ");
    throw new MissingData(`${data} has no ${set} with ${names} (--data, BATON_DATA)`);
  }
  return there.flatMap((file) =>
    readFileSync(file, "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as T),
  );
}

/** `count` of them, evenly spaced over all. */
export function sampleOf<T>(all: readonly T[], count: number): T[] {
  if (count >= all.length) return [...all];
  return Array.from({ length: count }, (_, i) => all[Math.floor((i * all.length) / count)] as T);
}

function piece({ encode }: ChainSources, name: string, text: string): Piece {
  return { name, text, tokens: encode(text) };
}

/** A gold output; the space in front of it is the stage's lead. */
function goldTurn(sources: ChainSources, turn: Pick<Turn, "name" | "role" | "reads" | "own" | "text">): Turn {
  return { ...turn, ...piece(sources, turn.name, ` ${turn.text}`), closes: true };
}

/** recall <-> reason: roles take turns, each reads the question and all turns before it. Items of 3 turns or more. */
export function recallReason(sources: ChainSources, count = Number.POSITIVE_INFINITY): ForcedChain[] {
  const items = readItems<RecallReasonItem>(sources, "comqa-recall-reason");
  const long = items.filter(({ rounds }) => (rounds?.length ?? 0) >= 3);
  return sampleOf(long, count).map(({ question, rounds = [] }) => ({
    inputs: [piece(sources, "question", question)],
    turns: rounds.map(({ stage, text }, i) => {
      const reads = ["question", ...rounds.slice(0, i).map((_, before) => `turn${before + 1}`)];
      return goldTurn(sources, { name: `turn${i + 1}`, role: stage, reads, own: [], text });
    }),
  }));
}

/** compress -> answer: the passages belong to compress; answer reads the question and what compress wrote. */
export function compressAnswer(sources: ChainSources, count = Number.POSITIVE_INFINITY): ForcedChain[] {
  const items = readItems<CompressAnswerItem>(sources, "hotpot-compress-answer");
  return sampleOf(items, count).map(({ question, passages, evidence, answer }) => ({
    inputs: [piece(sources, "question", question), piece(sources, "passages", passages)],
    turns: [
      { name: "compress", role: "compress", reads: ["question"], own: ["passages"], text: evidence },
      { name: "answer", role: "answer", reads: ["question", "compress"], own: [], text: answer },
    ].map((turn) => goldTurn(sources, turn)),
  }));
}
