// SPDX-License-Identifier: Apache-2.0
// Chat templates: messages in, text with control tokens out. What a user typed stays text: `encode` never lets a
// message's content become a control token, whatever it spells.

import type * as Jinja from "@huggingface/jinja";
import { TemplateInvalidError } from "../errors.js";
import { requireHere } from "../native/here.js";
import type { MetadataValue } from "../native/types.js";
import type { Tokenizer } from "./tokenizer.js";

/** What an assistant's turn asks to be called. */
export interface ChatToolCall {
  id?: string;
  type: "function";
  function: { name: string; arguments: unknown };
}

/** A message as templates read it; all but role and content for the templates of models that know tools or reason. */
export interface ChatMessage {
  role: string;
  content: string;
  tool_calls?: readonly ChatToolCall[];
  /** Of a tool's answer: which call it answers, and the tool's name. */
  tool_call_id?: string;
  name?: string;
  reasoning_content?: string;
}

/** A tool as templates read it; `parameters` is a JSON schema. */
export interface ChatTool {
  type: "function";
  function: { name: string; description?: string; parameters: unknown };
}

export interface RenderOptions {
  /** The template's `tools`; a template that knows none leaves them out in silence. */
  tools?: readonly ChatTool[];
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
  /** Token ids of the rendered text; control tokens come from the template only, never from a message or a tool. */
  encode(messages: readonly ChatMessage[], options?: RenderOptions): Int32Array;
}

const key = "tokenizer.chat_template";

const reason = (cause: unknown) => (cause instanceof Error ? cause.message : String(cause));

/** Every text in a value as JSON has them, names of properties included. */
function* textsIn(value: unknown): Generator<string> {
  if (typeof value === "string") yield value;
  else if (Array.isArray(value)) for (const one of value) yield* textsIn(one);
  else if (typeof value === "object" && value !== null) {
    for (const [name, one] of Object.entries(value)) {
      yield name;
      yield* textsIn(one);
    }
  }
}

/** The same value with `change` applied to every text in it. */
function withTexts(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === "string") return change(value);
  if (Array.isArray(value)) return value.map((one) => withTexts(one, change));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [change(name), withTexts(one, change)]),
  );
}

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

/** Loaded with the first template, by `require` since templates are made without waiting. */
const jinjaLibrary = () => requireHere("@huggingface/jinja") as typeof Jinja;

class JinjaTemplate implements ChatTemplate {
  readonly source: string;
  private readonly template: Jinja.Template;
  private readonly tokenizer: Tokenizer;

  constructor(source: string, label: string, tokenizer: Tokenizer) {
    this.source = source;
    this.tokenizer = tokenizer;
    const { Template } = jinjaLibrary();
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
    const { addGenerationPrompt = true, variables = {}, tools } = options;
    const { bosId, closers } = this.tokenizer;
    const eosId = closers[0];
    try {
      return this.template.render({
        bos_token: bosId === null ? "" : this.tokenizer.tokenName(bosId),
        eos_token: eosId === undefined ? "" : this.tokenizer.tokenName(eosId),
        ...variables,
        ...(tools === undefined ? {} : { tools }),
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
    const { tools } = options;
    const mark = unusedCharacter([...textsIn([messages, tools])]);
    const guard = <T>(value: T) => withTexts(value, (text) => this.tokenizer.guard(text, mark)) as T;
    const guarded = guard(messages);
    const guardedTools = tools === undefined ? {} : { tools: guard(tools) };
    return this.tokenizer.encode(this.render(guarded, { ...options, ...guardedTools }), {
      specials: true,
      mark,
    });
  }
}

/** One of the model file's named templates, or a Jinja text to use instead. */
export type TemplateChoice = string | { source: string };

/**
 * The template of a model file (`tokenizer.chat_template`), or `name` of its named ones
 * (`tokenizer.chat_template.<name>`), or another text. Throws TemplateInvalidError: no template, or one that does not
 * parse.
 */
export function createTemplate(
  metadata: Readonly<Record<string, MetadataValue>>,
  tokenizer: Tokenizer,
  name?: TemplateChoice,
): ChatTemplate {
  if (typeof name === "object") return new JinjaTemplate(name.source, "that was given", tokenizer);
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
