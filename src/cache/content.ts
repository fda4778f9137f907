// SPDX-License-Identifier: Apache-2.0
// What may be appended to a cache handle, as rows.

import { ContextLimitError, OptionInvalidError } from "../errors.js";
import type { Model } from "../model/model.js";
import type { PromptSource } from "../model/prompt.js";
import { resolvePrompt } from "../model/prompt.js";
import { withBos } from "../model/tokenizer.js";
import type { Row } from "./view.js";

/** A text, token ids, embedding rows [count, hidden], or a soft prompt as a stage has it: a PEFT folder, a text, rows. */
export type CacheContent =
  | string
  | ArrayLike<number>
  | { rows: Float32Array; count: number }
  | { prompt: PromptSource };

export interface ContentOptions {
  /** The names of control tokens in a text become those tokens. */
  specials: boolean;
  /** Nothing stands before it: a text gets the BOS that the tokenizer asks for. */
  atStart: boolean;
}

/** Throws OPTION_INVALID for content that gives no row or is none, PROMPT_INVALID for rows of another width. */
export async function rowsOfContent(
  model: Model,
  content: CacheContent,
  { specials, atStart }: ContentOptions,
): Promise<Row[]> {
  const { tokenizer, info } = model;
  const rows: Row[] = [];
  if (typeof content === "string") {
    const ids = tokenizer.encode(content, { specials, atZero: atStart });
    for (const id of atStart && ids.length > 0 ? withBos(tokenizer, ids) : ids) rows.push(id);
  } else if (typeof content === "object" && content !== null && ("rows" in content || "prompt" in content)) {
    rows.push(...(await promptRows(model, "prompt" in content ? content.prompt : content)));
  } else {
    for (const id of Array.from(content ?? [])) {
      if (!Number.isInteger(id) || id < 0 || id >= info.vocab) throw badToken(id, info.vocab);
      rows.push(id);
    }
  }
  if (rows.length > 0) return rows;
  throw new OptionInvalidError("There is nothing to append. Give a text, or a list, of at least one token.", {
    facts: { option: "content" },
  });
}

async function promptRows({ info, tokenizer }: Model, source: PromptSource): Promise<Row[]> {
  const { tokens, rows, count } = await resolvePrompt(source, { hidden: info.hidden, tokenizer });
  if (rows === undefined) return Array.from(tokens ?? []);
  return Array.from({ length: count }, (_, i) => rows.subarray(i * info.hidden, (i + 1) * info.hidden));
}

function badToken(id: unknown, vocab: number): OptionInvalidError {
  return new OptionInvalidError(`${String(id)} is no token id of this model: they are 0 to ${vocab - 1}.`, {
    facts: { option: "content", value: String(id), vocab },
  });
}

/** `parts`: what the handle's frame is made of. */
export function contextFull(parts: string, needed: number, limit: number): ContextLimitError {
  const over = needed - limit;
  return new ContextLimitError(
    `The frame of this cache handle needs ${needed} positions (${parts}), ${over} more than the model's ${limit}. ` +
      "Append less, truncate the handle, or take a model with a longer context.",
    { facts: { needed, limit, over } },
  );
}
