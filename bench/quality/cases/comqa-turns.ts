// SPDX-License-Identifier: Apache-2.0
// Turns of recall <-> reason as texts: what stands before a turn, whether it ends the chain, which option it names.
import type { RecallReasonItem } from "../../chains/data.js";

export interface ComqaItem extends Required<RecallReasonItem> {
  /** Letter of the right option. */
  answer: string;
}

/** What a role learns from when it works on texts. */
export interface TurnRecord {
  before: string;
  turn: string;
}

/** Placeholder of the data for a first turn that nobody wrote. */
export const placeholder = "<reason>";

const answerPattern = /answer is\]?:?\s*\(?([A-E])\b/;

/** The letter of the option that a text ends on; null: none. */
export function answerOf(text: string): string | null {
  return answerPattern.exec(text)?.[1] ?? null;
}

/** A turn that names no option asks for knowledge. */
export function askedAgain(reason: string): boolean {
  return answerOf(reason) === null;
}

/** As the KV chain lays it out: every turn behind a newline and its lead. */
function lay(question: string, turns: readonly string[]): string {
  return question + turns.map((text) => `\n ${text}`).join("");
}

/** Question and everything written in earlier rounds, and in this one if something was. */
export function soFar(question: string, rounds: readonly unknown[], reason?: string): string {
  const turns = rounds.flatMap((one) => {
    const { reason: first, lookup } = one as {
      reason: { text: string };
      lookup?: { recall: { text: string } } | undefined;
    };
    return [first.text, ...(lookup === undefined ? [] : [lookup.recall.text])];
  });
  return lay(question, reason === undefined ? turns : [...turns, reason]);
}

/** All turns of a role, each with what stands before it. */
export function turnRecords(items: readonly ComqaItem[], role: string): TurnRecord[] {
  return items.flatMap(({ question, rounds }) =>
    rounds.flatMap(({ stage, text }, at) => {
      if (stage !== role) return [];
      const turns = rounds.slice(0, at).map((one) => one.text);
      return [{ before: lay(question, turns), turn: text }];
    }),
  );
}

export function lastReason(rounds: ComqaItem["rounds"]): string {
  return rounds.findLast(({ stage }) => stage === "reason")?.text ?? "";
}
