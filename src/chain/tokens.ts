// SPDX-License-Identifier: Apache-2.0
// From texts to rows of token ids. Every segment is tokenised by itself with nothing added, except that a text at
// frame position 0 starts with BOS when the tokenizer asks for one (never twice). Values stay plain text whatever they
// contain; formats, openers and closers may name special tokens.

import { closingTokens } from "../cache/output-options.js";
import { ChainInvalidError } from "../errors.js";
import type { Tokenizer } from "../model/tokenizer.js";
import { withBos } from "../model/tokenizer.js";
import { stageOwner } from "./options.js";
import type { InputDescription } from "./plan.js";

/** Matches the text of any special token, longest first; null for a tokenizer without any. */
const specialPatterns = new WeakMap<Tokenizer, { pattern: RegExp | null }>();

function specialPattern(tokenizer: Tokenizer): RegExp | null {
  let found = specialPatterns.get(tokenizer);
  if (found === undefined) {
    const texts: string[] = [];
    for (let id = 0; id < tokenizer.size; id++) {
      const text = tokenizer.tokenName(id);
      if (text !== "" && tokenizer.specialId(text) === id) texts.push(text);
    }
    texts.sort((a, b) => b.length - a.length);
    const escaped = texts.map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    found = { pattern: texts.length === 0 ? null : new RegExp(`(${escaped.join("|")})`) };
    specialPatterns.set(tokenizer, found);
  }
  return found.pattern;
}

/** Runs of plain text between special tokens; the value never contributes a special token, not even at its borders. */
function formatted(
  tokenizer: Tokenizer,
  format: string,
  placeholder: string,
  value: string,
  atZero: boolean,
): number[] {
  const pattern = specialPattern(tokenizer);
  const ids: number[] = [];
  let plain = "";
  const endRun = () => {
    const first = atZero && ids.length === 0;
    if (plain !== "") ids.push(...tokenizer.encode(plain, { specials: false, atZero: first }));
    plain = "";
  };
  for (const [index, literal] of format.split(placeholder).entries()) {
    if (index > 0) plain += value;
    // split() with one group: even places are text, odd ones special tokens
    for (const [place, part] of (pattern === null ? [literal] : literal.split(pattern)).entries()) {
      const special = place % 2 === 1 ? tokenizer.specialId(part) : null;
      if (special === null) plain += part;
      else {
        endRun();
        ids.push(special);
      }
    }
  }
  endRun();
  return ids;
}

const placed = (tokenizer: Tokenizer, ids: ArrayLike<number>, atZero: boolean): Int32Array =>
  atZero ? withBos(tokenizer, ids) : Int32Array.from(ids);

/**
 * Ids of an input. `atZero`: the segment starts at frame position 0. Throws CHAIN_INVALID for a value that gives no
 * token.
 */
export function inputTokens(
  tokenizer: Tokenizer,
  name: string,
  { format }: Omit<InputDescription, "name">,
  value: string,
  atZero: boolean,
): Int32Array {
  const ids =
    format === null
      ? tokenizer.encode(value, { specials: false, atZero })
      : formatted(tokenizer, format, `{${name}}`, value, atZero);
  if (value === "" || ids.length === 0) {
    throw new ChainInvalidError(`Input "${name}" is empty. Give it a text of at least one token.`, {
      facts: { step: name, value },
    });
  }
  return placed(tokenizer, ids, atZero);
}

/** Ids of an opener, may be empty with own inputs only. `opener` null: the default one. */
export function openerTokens(
  tokenizer: Tokenizer,
  stage: string,
  opener: string | null,
  hasOwn: boolean,
  atZero: boolean,
): Int32Array {
  if (opener === null && hasOwn) return new Int32Array();
  if (opener !== null) {
    const ids = tokenizer.encode(opener, { specials: true, atZero });
    return ids.length === 0 ? ids : placed(tokenizer, ids, atZero);
  }
  const id = tokenizer.bosId ?? tokenizer.newlineId;
  if (id === null) {
    throw new ChainInvalidError(
      `Stage "${stage}" has no own inputs and this tokenizer has neither BOS nor a newline token to open with. ` +
        "Give the stage an `opener`.",
      { facts: { step: stage } },
    );
  }
  return placed(tokenizer, [id], atZero);
}

/** Ids of a stage's closing tokens; `closers` null: the tokenizer's own. Throws OPTION_INVALID for a text that is none. */
export function closerIds(
  tokenizer: Tokenizer,
  stage: string,
  closers: readonly string[] | null,
): Int32Array {
  return closingTokens(tokenizer, stageOwner(stage), closers);
}
