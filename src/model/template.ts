// SPDX-License-Identifier: Apache-2.0
// Chat templates: messages in, text with control tokens out (encode it with `specials: true`).

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
  readonly source: string;
  render(messages: readonly ChatMessage[], options?: RenderOptions): string;
}

/**
 * The template of a model file (`tokenizer.chat_template`), or `name` of its named ones.
 * Throws TemplateInvalidError: no template, one that does not parse, one that fails while rendering.
 */
export declare function createTemplate(
  metadata: Record<string, MetadataValue>,
  tokenizer: Tokenizer,
  name?: string,
): ChatTemplate;
