// SPDX-License-Identifier: Apache-2.0
// One model's chat template, and what it can do: whether it knows tools is seen by what it makes of one. A template that
// knows none gets the tools as instructions, and calls and results as texts between tags.

import { createHash } from "node:crypto";
import type { ChatMessage, ChatTemplate, ChatTool, ChatToolCall, RenderOptions } from "../template.js";
import { callId } from "./format.js";
import type { ToolFormat } from "./index.js";
import { closeTag, formatOf, openTag, tagged } from "./index.js";

/** The same id in the letters of a template's; ids of this package have them already. */
export const templateId = (id: string) =>
  /^[A-Za-z0-9]{9}$/.test(id) ? id : callId(createHash("sha256").update(id).digest());

function toolInstructions(tools: readonly ChatTool[]): string {
  const list = tools.map((one) => JSON.stringify(one.function)).join("\n");
  return (
    `You may call these tools, each given as JSON with the schema of its arguments:\n${list}\n` +
    `To call one, write a JSON object with its name and arguments between tags, and nothing after it:\n` +
    `${openTag}\n{"name": "...", "arguments": {...}}\n${closeTag}\n` +
    "Its result comes in the next message. Call a tool only if you need it."
  );
}

const responseTag = "<tool_response>";

const callText = ({ function: { name, arguments: given } }: ChatToolCall) =>
  `${openTag}\n${JSON.stringify({ name, arguments: given })}\n${closeTag}`;

/** Calls and results as texts. */
function inWords(message: ChatMessage): ChatMessage {
  if (message.role === "tool")
    return { role: "user", content: `${responseTag}\n${message.content}\n</tool_response>` };
  const { tool_calls: calls = [], ...rest } = message;
  const texts = [message.content, ...calls.map(callText)].filter((text) => text !== "");
  return calls.length === 0 ? message : { ...rest, content: texts.join("\n") };
}

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

/** The same messages told `text` besides, in the first one if that is the system's. */
function withInstructions(messages: readonly ChatMessage[], text: string | null): readonly ChatMessage[] {
  if (text === null) return messages;
  const [first, ...others] = messages;
  if (first?.role !== "system") return [{ role: "system", content: text }, ...messages];
  return [{ ...first, content: `${first.content}\n\n${text}` }, ...others];
}

export interface ToolRenderOptions extends Pick<RenderOptions, "variables"> {
  /** What the model is told besides; null: nothing. */
  instructions?: string | null;
}

export class ToolTemplate {
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

  get format(): ToolFormat {
    return this.knowsTools ? formatOf(this.#template.source) : tagged;
  }

  /** Whether thinking can be switched on and off. */
  get knowsThinking(): boolean {
    return this.#template.source.includes("enable_thinking");
  }

  /** Calls and results stand in the fields of messages. Throws TEMPLATE_INVALID. */
  encode(
    messages: readonly ChatMessage[],
    tools: readonly ChatTool[],
    { instructions = null, ...options }: ToolRenderOptions = {},
  ): Int32Array {
    if (this.knowsTools) {
      const list = tools.length === 0 ? {} : { tools };
      return this.#template.encode(withInstructions(messages, instructions), { ...options, ...list });
    }
    const texts = [tools.length === 0 ? null : toolInstructions(tools), instructions];
    const text = texts.filter((one) => one !== null).join("\n\n") || null;
    return this.#template.encode(merged(withInstructions(messages.map(inWords), text)), options);
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
