// SPDX-License-Identifier: Apache-2.0
// A chain whose outputs are given: every subject generates them token by token at the full cost of generating, and
// takes the given token in place of its own choice. So all subjects do the same texts, whatever their models would say.

/** A text of a chain, tokenised by itself. */
export interface Piece {
  name: string;
  /** What tokenises to `tokens`. */
  text: string;
  tokens: number[];
}

/** One stage's part: who writes what, reading what. */
export interface Turn extends Piece {
  /** Turns of one role have the same prompt. */
  role: string;
  /** Names of inputs and earlier turns, in the order in which they stand. */
  reads: string[];
  /** Names of inputs that nobody else reads; they stand behind the reads. */
  own: string[];
  /** Ends with the closing token, which is sampled too; otherwise by its length. */
  closes: boolean;
}

export interface ForcedChain {
  inputs: Piece[];
  turns: Turn[];
}

/** What chains are made of. */
export interface ChainSources {
  /** Plain text to ids, nothing added. */
  encode(text: string): number[];
  /** Folder of the chain data (`--data`, BATON_DATA), if there is one. */
  data: string | undefined;
}

/** Rows of every role's prompt. */
export const promptRows = 50;

/** Inputs and turns by name. */
export function piecesOf({ inputs, turns }: ForcedChain): Map<string, Piece> {
  return new Map([...inputs, ...turns].map((one) => [one.name, one]));
}

/** What a turn reads, own inputs last. */
export function visiblePieces(chain: ForcedChain, turn: Turn): Piece[] {
  const pieces = piecesOf(chain);
  return [...turn.reads, ...turn.own].map((name) => {
    const found = pieces.get(name);
    if (found === undefined)
      throw new Error(`turn ${turn.name} reads ${name}, which the chain does not have`);
    return found;
  });
}

export function tokensOf(pieces: readonly Piece[]): number[] {
  return pieces.flatMap((one) => one.tokens);
}

/** Roles in order of their first turn. */
export function rolesOf(chains: readonly ForcedChain[]): string[] {
  return [...new Set(chains.flatMap(({ turns }) => turns.map((one) => one.role)))];
}

/** Throws when what a subject wrote is not what it was given. */
export function checkWritten(turn: Turn, written: readonly number[]): void {
  const { tokens, name } = turn;
  if (written.length === tokens.length && written.every((id, i) => id === tokens[i])) return;
  throw new Error(`turn ${name} was given ${tokens.length} tokens and ${written.length} others were written`);
}
