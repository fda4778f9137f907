// SPDX-License-Identifier: Apache-2.0
// What a run has learned that it could not learn again for nothing: the answers of the program's own code, the outputs
// of stages that have ended, and of those in the middle the tokens so far. A run that resumes another asks here first.

import type { TokenLogprob } from "../cache/logprobs.js";
import type { Output } from "../cache/output.js";
import type { SegmentId } from "./plan.js";
import type { StageResult } from "./types.js";

export interface EndedStage {
  opener: readonly number[];
  result: StageResult;
}

export interface BegunStage {
  opener: readonly number[];
  tokens: readonly number[];
  logprobs?: readonly TokenLogprob[];
}

/** In order; a stage that was begun and is not known otherwise had no tokens yet. */
export type Entry =
  | readonly ["answer", string, unknown]
  | readonly ["begin", SegmentId]
  | readonly ["end", SegmentId, EndedStage]
  | readonly ["part", SegmentId, BegunStage];

interface Writing {
  opener: readonly number[];
  output: Output;
  /** Most tokens that it may go on behind. */
  most: number;
}

const keyOf = (kind: string, name: string): string => `${kind} ${name}`;

export class RunRecord {
  readonly #journal: Entry[] = [];
  /** Of the run that is resumed, what was not asked for yet. */
  readonly #past = new Map<string, Entry>();
  readonly #ended = new Map<SegmentId, EndedStage>();
  readonly #parts = new Map<SegmentId, BegunStage>();
  readonly #writing = new Map<SegmentId, Writing>();

  /** What an earlier run had learned. */
  remember(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const [kind, name] = entry;
      if (kind === "end") this.#ended.set(name, entry[2]);
      if (kind === "part") this.#parts.set(name, entry[2]);
      if (kind !== "begin") this.#past.set(keyOf(kind, name), entry);
    }
  }

  /** The answer to a question that was asked before. */
  answer(question: string): { value: unknown } | null {
    const entry = this.#past.get(keyOf("answer", question));
    if (entry?.[0] !== "answer") return null;
    this.#past.delete(keyOf("answer", question));
    this.#journal.push(entry);
    return { value: entry[2] };
  }

  setAnswer(question: string, value: unknown): void {
    this.#journal.push(["answer", question, value]);
  }

  /** How a stage ended in the run that is resumed. */
  ended(id: SegmentId): EndedStage | null {
    const entry = this.#past.get(keyOf("end", id));
    if (entry?.[0] !== "end") return null;
    this.#past.delete(keyOf("end", id));
    this.#journal.push(["begin", id], entry);
    return entry[2];
  }

  /** What a stage had written in the run that is resumed, when it begins again. */
  begin(id: SegmentId): BegunStage | null {
    this.#journal.push(["begin", id]);
    this.#past.delete(keyOf("part", id));
    return this.#parts.get(id) ?? null;
  }

  write(id: SegmentId, writing: Writing): void {
    this.#writing.set(id, writing);
  }

  end(id: SegmentId, stage: EndedStage): void {
    this.#writing.delete(id);
    this.#ended.set(id, stage);
    this.#journal.push(["end", id, stage]);
  }

  isEnded(id: SegmentId): boolean {
    return this.#ended.has(id);
  }

  /** Rows of an output as far as they are certain, its opener included. */
  tokensOf(id: SegmentId): Int32Array {
    const ended = this.#ended.get(id);
    if (ended !== undefined) return Int32Array.from([...ended.opener, ...ended.result.tokens]);
    const writing = this.#writing.get(id);
    const part = writing === undefined ? this.#parts.get(id) : partOf(writing);
    return part === undefined ? new Int32Array() : Int32Array.from([...part.opener, ...part.tokens]);
  }

  entries(): Entry[] {
    const parts = [...this.#writing].map(([id, writing]): Entry => ["part", id, partOf(writing)]);
    return [...this.#journal, ...this.#past.values(), ...parts];
  }
}

function partOf({ opener, output, most }: Writing): BegunStage {
  const tokens = output.tokens.slice(0, most);
  const { logprobs } = output.figures;
  return { opener, tokens, ...(logprobs && { logprobs: logprobs.slice(0, tokens.length) }) };
}
