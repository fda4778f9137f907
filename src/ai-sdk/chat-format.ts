// SPDX-License-Identifier: Apache-2.0
// One model's chat template, and what it can do: whether it knows tools is seen by what it makes of one. A template that
// knows none gets the tools as instructions, and calls and results as texts between tags.

import { createHash } from "node:crypto";
import type { ChatMessage, ChatTemplate, ChatTool } from "../index.js";
import { chatMessages, textOfResult, withInstructions } from "./messages.js";
import type { CallOptions, FunctionTool, Message, ToolCallPart } from "./spec.js";
import type { ToolFormat } from "./tools/index.js";
import { callId, closeTag, formatOf, openTag, tagged } from "./tools/index.js";

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

/** The same id in the letters of a template's; ids of this provider have them already. */
const idOf = (id: string) =>
  /^[A-Za-z0-9]{9}$/.test(id) ? id : callId(createHash("sha256").update(id).digest());

/** A call's input, which another model may have left as text. */
const argumentsOf = ({ input }: ToolCallPart): unknown => input ?? {};

function toolInstructions(tools: readonly FunctionTool[]): string {
  const list = tools.map((one) => JSON.stringify(templateTool(one).function)).join("\n");
  return (
    `You may call these tools, each given as JSON with the schema of its arguments:\n${list}\n` +
    `To call one, write a JSON object with its name and arguments between tags, and nothing after it:\n` +
    `${openTag}\n{"name": "...", "arguments": {...}}\n${closeTag}\n` +
    "Its result comes in the next message. Call a tool only if you need it."
  );
}

const responseTag = "<tool_response>";

const asText = {
  call: (part: ToolCallPart) =>
    `${openTag}\n${JSON.stringify({ name: part.toolName, arguments: argumentsOf(part) })}\n${closeTag}`,
  result: (part: Parameters<typeof textOfResult>[0]): ChatMessage => ({
    role: "user",
    content: `${responseTag}\n${textOfResult(part)}\n</tool_response>`,
  }),
};

const asFields = {
  call: (part: ToolCallPart) => ({
    id: idOf(part.toolCallId),
    type: "function" as const,
    function: { name: part.toolName, arguments: argumentsOf(part) },
  }),
  result: (part: Parameters<typeof textOfResult>[0]): ChatMessage => ({
    role: "tool",
    content: textOfResult(part),
    tool_call_id: idOf(part.toolCallId),
    name: part.toolName,
  }),
};

const isResult = ({ role, content }: ChatMessage) => role === "user" && content.startsWith(responseTag);

/** Results that follow each other are one message: users and assistants take turns. */
function merged(messages: readonly ChatMessage[]): ChatMessage[] {
  const turns: ChatMessage[] = [];
  for (const message of messages) {
    const last = turns.at(-1);
    if (isResult(message) && last !== undefined && isResult(last)) {
      turns[turns.length - 1] = { ...last, content: `${last.content}\n${message.content}` };
    } else turns.push(message);
  }
  return turns;
}

export class ChatFormat {
  readonly #template: ChatTemplate;
  #knowsTools: boolean | null = null;

  constructor(template: ChatTemplate) {
    this.#template = template;
  }

  /** Whether the template shows the model its tools, what it called and what came of it. */
  get knowsTools(): boolean {
    this.#knowsTools ??= this.#shows();
    return this.#knowsTools;
  }

  get tools(): ToolFormat {
    return this.knowsTools ? formatOf(this.#template.source) : tagged;
  }

  /** Whether thinking can be switched on and off. */
  get knowsThinking(): boolean {
    return this.#template.source.includes("enable_thinking");
  }

  /** `instructions`: what the model is told besides. Throws TEMPLATE_INVALID, UnsupportedFunctionalityError. */
  encode(
    prompt: readonly Message[],
    tools: readonly FunctionTool[],
    { instructions, reasoning }: { instructions: string | null; reasoning: CallOptions["reasoning"] },
  ): Int32Array {
    const thinks = reasoning !== undefined && reasoning !== "provider-default" && this.knowsThinking;
    const variables = thinks ? { variables: { enable_thinking: reasoning !== "none" } } : {};
    const told = (messages: ChatMessage[], text: string | null) =>
      text === null ? messages : withInstructions(messages, text);
    if (this.knowsTools) {
      const messages = told(chatMessages(prompt, asFields), instructions);
      const list = tools.length === 0 ? {} : { tools: tools.map(templateTool) };
      return this.#template.encode(messages, { ...variables, ...list });
    }
    const texts = [tools.length === 0 ? null : toolInstructions(tools), instructions];
    const text = texts.filter((one) => one !== null).join("\n\n") || null;
    return this.#template.encode(merged(told(chatMessages(prompt, asText), text)), variables);
  }

  #shows(): boolean {
    const [name, city, answer] = ["probe_weather", "Probestad", "probe: 7 degrees"];
    const parameters = { type: "object", properties: { city: { type: "string" } } };
    const tool: ChatTool = { type: "function", function: { name, description: "probes", parameters } };
    const call = { id: "probe0000", type: "function" as const, function: { name, arguments: { city } } };
    const messages: ChatMessage[] = [
      { role: "user", content: "Hello" },
      { role: "assistant", content: "", tool_calls: [call] },
      { role: "tool", content: answer, tool_call_id: call.id, name },
    ];
    try {
      const declared = this.#template.render(messages.slice(0, 1), { tools: [tool] });
      const text = this.#template.render(messages, { tools: [tool] });
      return declared.includes(name) && text.includes(city) && text.includes(answer);
    } catch {
      return false; // it refuses a role, which is an answer too
    }
  }
}
