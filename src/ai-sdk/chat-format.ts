// SPDX-License-Identifier: Apache-2.0
// AI SDK's messages and tools by one model's chat template, whatever that knows of tools.

import type { ChatTemplate, ChatTool } from "../index.js";
import type { ToolFormat } from "../model/tools/index.js";
import { ToolTemplate } from "../model/tools/template.js";
import { chatMessages } from "./messages.js";
import type { CallOptions, FunctionTool, Message } from "./spec.js";

/** `$schema` tells programs which dialect it is; to a model it is noise. */
function parametersOf({ inputSchema }: FunctionTool): unknown {
  if (typeof inputSchema !== "object" || inputSchema === null) return inputSchema;
  return Object.fromEntries(Object.entries(inputSchema).filter(([name]) => name !== "$schema"));
}

const templateTool = (tool: FunctionTool): ChatTool => ({
  type: "function",
  function: {
    name: tool.name,
    ...(tool.description === undefined ? {} : { description: tool.description }),
    parameters: parametersOf(tool),
  },
});

export class ChatFormat {
  readonly #template: ToolTemplate;

  constructor(template: ChatTemplate) {
    this.#template = new ToolTemplate(template);
  }

  /** Whether the template shows the model its tools, what it called and what came of it. */
  get knowsTools(): boolean {
    return this.#template.knowsTools;
  }

  get tools(): ToolFormat {
    return this.#template.format;
  }

  /** Whether thinking can be switched on and off. */
  get knowsThinking(): boolean {
    return this.#template.knowsThinking;
  }

  /** `instructions`: what the model is told besides. Throws TEMPLATE_INVALID, UnsupportedFunctionalityError. */
  encode(
    prompt: readonly Message[],
    tools: readonly FunctionTool[],
    { instructions, reasoning }: { instructions: string | null; reasoning: CallOptions["reasoning"] },
  ): Int32Array {
    const thinks = reasoning !== undefined && reasoning !== "provider-default" && this.knowsThinking;
    const variables = thinks ? { variables: { enable_thinking: reasoning !== "none" } } : {};
    return this.#template.encode(chatMessages(prompt), tools.map(templateTool), {
      ...variables,
      instructions,
    });
  }
}
