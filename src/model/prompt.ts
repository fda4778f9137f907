// SPDX-License-Identifier: Apache-2.0
// Soft prompts: whatever a stage names as its `prompt` becomes tokens or embedding rows, with a content hash.

import type { Tokenizer } from "./tokenizer.js";

/** A PEFT PROMPT_TUNING folder, a text, or rows [count, hidden]. */
export type PromptSource =
  | string
  | { text: string; virtualTokens?: number }
  | { rows: Float32Array; count: number };

/** A read or own input as a contract names it; an output carries the hash of the prompt that wrote it. */
export interface ContractSegment {
  kind: "input" | "output";
  /** Hash of the writer's prompt, outputs only; null: written without one. */
  prompt?: string | null;
  /** An input that reads nothing. */
  alone?: boolean;
}

/** What a prompt was trained under (`baton_contract.json`). */
export interface PromptContract {
  version: 1;
  base: { contentHash: string; weightType: string };
  layout: "frames" | "concatenated";
  /** Formats of inputs by position in reads, then own; null: the text as it is. */
  format: (string | null)[];
  /** Token ids. */
  opener: number[];
  lead: string;
  closers: number[];
  reads: ContractSegment[];
  own: ContractSegment[];
}

export interface ContractDifference {
  /** Path of the field, e.g. "base.weightType". */
  field: string;
  trained: string;
  used: string;
}

export interface ResolvedPrompt {
  kind: "tokens" | "rows";
  /** kind "tokens": ids [count]. */
  tokens?: Int32Array;
  /** kind "rows": [count, hidden], row-major. */
  rows?: Float32Array;
  /** Virtual tokens. */
  count: number;
  /** SHA-256, hex, of kind and content. */
  hash: string;
  /** Folder, or a short description, for messages and `explain`. */
  label: string;
  contract?: PromptContract;
}

export interface PromptTarget {
  /** Model width M. */
  hidden: number;
  tokenizer: Tokenizer;
}

/** Throws PromptInvalidError naming file, key or row, the value and the remedy; IoError if a file cannot be read. */
export declare function resolvePrompt(source: PromptSource, target: PromptTarget): Promise<ResolvedPrompt>;

/** Differences between the contract a prompt was trained under and the one it is used under; empty: none. */
export declare function compareContracts(trained: PromptContract, used: PromptContract): ContractDifference[];
