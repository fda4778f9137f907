// SPDX-License-Identifier: Apache-2.0
// Chat templates: messages in, text with control tokens out. What a user typed stays text: `encode` never lets a
// message's content become a control token, whatever it spells.

import { Template } from "@huggingface/jinja";
import { TemplateInvalidError } from "../errors.js";
import type { MetadataValue } from "../native/types.js";
import type { Tokenizer } from "./tokenizer.js";

export interface ChatMessage {
  role: string;
  content: string;
}

export interface RenderOptions {
  /** Ends the text with the start of the assistant's turn. Default true. */
  addGenerationPrompt?: boolean;
  /** Extra variables of the template. */
  variables?: Readonly<Record<string, unknown>>;
}

export interface ChatTemplate {
  /** The Jinja text. */
  readonly source: string;
  /** Throws TemplateInvalidError with the template's own reason, such as a role it does not accept. */
  render(messages: readonly ChatMessage[], options?: RenderOptions): string;
  /** Token ids of the rendered text; control tokens come from the template only, never from a message's content. */
  encode(messages: readonly ChatMessage[], options?: RenderOptions): Int32Array;
}

const key = "tokenizer.chat_template";

const reason = (cause: unknown) => (cause instanceof Error ? cause.message : String(cause));

/** A private-use character that none of the texts contains. */
function unusedCharacter(texts: readonly string[]): string {
  for (let code = 0xe000; code <= 0xf8ff; code++) {
    const mark = String.fromCharCode(code);
    if (!texts.some((text) => text.includes(mark))) return mark;
  }
  throw new TemplateInvalidError(
    "The messages use every private-use character (U+E000 to U+F8FF), so none is left to protect them; remove one.",
  );
}

class JinjaTemplate implements ChatTemplate {
  readonly source: string;
  private readonly template: Template;
  private readonly tokenizer: Tokenizer;

  constructor(source: string, label: string, tokenizer: Tokenizer) {
    this.source = source;
    this.tokenizer = tokenizer;
    try {
      this.template = new Template(source);
    } catch (cause) {
      throw new TemplateInvalidError(
        `The chat template ${label} does not parse: ${reason(cause)}. Write the control tokens yourself, or use a ` +
          "file with a working template.",
        { facts: { key: label, reason: reason(cause) }, cause },
      );
    }
  }

  render(messages: readonly ChatMessage[], options: RenderOptions = {}): string {
    const { addGenerationPrompt = true, variables = {} } = options;
    const { bosId, closers } = this.tokenizer;
    const eosId = closers[0];
    try {
      return this.template.render({
        bos_token: bosId === null ? "" : this.tokenizer.tokenName(bosId),
        eos_token: eosId === undefined ? "" : this.tokenizer.tokenName(eosId),
        ...variables,
        messages: messages.map((message) => ({ ...message })),
        add_generation_prompt: addGenerationPrompt,
      });
    } catch (cause) {
      throw new TemplateInvalidError(
        `The chat template fails on these ${messages.length} messages: ${reason(cause)}. Change the messages ` +
          `(roles: ${messages.map((message) => message.role).join(", ")}) to what the model was trained with.`,
        { facts: { messages: messages.length, reason: reason(cause) }, cause },
      );
    }
  }

  encode(messages: readonly ChatMessage[], options: RenderOptions = {}): Int32Array {
    const mark = unusedCharacter(messages.flatMap((message) => [message.role, message.content]));
    const guarded = messages.map((message) => ({
      ...message,
      role: this.tokenizer.guard(message.role, mark),
      content: this.tokenizer.guard(message.content, mark),
    }));
    return this.tokenizer.encode(this.render(guarded, options), { specials: true, mark });
  }
}

/**
 * The template of a model file (`tokenizer.chat_template`), or `name` of its named ones
 * (`tokenizer.chat_template.<name>`). Throws TemplateInvalidError: no template, or one that does not parse.
 */
export function createTemplate(
  metadata: Readonly<Record<string, MetadataValue>>,
  tokenizer: Tokenizer,
  name?: string,
): ChatTemplate {
  const label = name === undefined ? key : `${key}.${name}`;
  const source = metadata[label];
  if (typeof source === "string") return new JinjaTemplate(source, label, tokenizer);
  const found = Object.keys(metadata).filter(
    (one) => one.startsWith(key) && typeof metadata[one] === "string",
  );
  const what = source === undefined ? "has no" : `has a ${typeof source} as`;
  const has = found.length === 0 ? "no chat template at all" : found.join(", ");
  throw new TemplateInvalidError(
    `The model file ${what} ${label} (it has ${has}). Write the control tokens yourself and encode with ` +
      "`specials: true`, or use a chat model.",
    { facts: { key: label, found } },
  );
}
