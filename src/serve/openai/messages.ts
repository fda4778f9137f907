// SPDX-License-Identifier: Apache-2.0
// The messages of a chat request: what of them is refused, and the rest as chat templates know them.

import { z } from "@hono/zod-openapi";
import type { ChatMessage } from "../../index.js";
import { parseJson } from "../../model/tools/format.js";
import { templateId } from "../../model/tools/template.js";
import { ServeError, unsupported } from "../errors.js";

const textPart = z.strictObject({ type: z.literal("text"), text: z.string() });
/** What clients hand back when they send an answer as a message again. */
const nothing = z.null().optional();

const toolCall = z.strictObject({
  id: z.string().min(1).max(256),
  type: z.literal("function"),
  function: z.strictObject({ name: z.string().min(1).max(64), arguments: z.string() }),
});

export const messageSchema = z.strictObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool"]),
  content: z
    .union([z.string(), z.array(textPart).min(1)])
    .nullish()
    .openapi({ description: "May be left out of a message with `tool_calls` alone" }),
  refusal: nothing,
  audio: nothing,
  function_call: nothing,
  name: nothing,
  tool_calls: z.array(toolCall).max(128).nullish().openapi({ description: "The assistant's" }),
  tool_call_id: z
    .string()
    .min(1)
    .max(256)
    .nullish()
    .openapi({ description: "Of a tool's message: the call that it answers" }),
  annotations: z.array(z.unknown()).nullish(),
});

type Message = z.infer<typeof messageSchema>;
type Raw = Record<string, unknown>;

/** What of a message stands for something that is not here, by name. Throws ServeError. */
export function refuseMessages(body: unknown): void {
  const { messages } = (body ?? {}) as Raw;
  if (!Array.isArray(messages)) return;
  for (const [at, given] of messages.entries()) {
    const { role, content, name } = (given ?? {}) as Raw;
    const param = `messages[${at}]`;
    if (role === "function")
      throw unsupported(
        `${param}.role`,
        'Messages of the role "function" are an older form. Send them as those of a tool, with `tool_call_id`.',
      );
    if (name !== undefined && name !== null)
      throw unsupported(`${param}.name`, "Chat templates know no names. Say in the text who speaks.");
    if (!Array.isArray(content)) continue;
    const other = content.find(
      (part: Raw | null) => typeof part?.type === "string" && part.type !== "text",
    ) as Raw;
    if (other !== undefined) {
      const what = JSON.stringify(other.type).slice(0, 64);
      throw unsupported(
        `${param}.content`,
        `Messages are texts; a part of type ${what} is not read. Leave it out.`,
      );
    }
  }
}

const wrong = (param: string, message: string) => new ServeError(400, "invalid_value", message, { param });

function textOf({ content, tool_calls: calls }: Message, param: string): string {
  if (typeof content === "string") return content;
  if (content != null) return content.map(({ text }) => text).join("");
  if (calls != null && calls.length > 0) return "";
  throw wrong(`${param}.content`, `\`${param}.content\` is missing. Give a text.`);
}

/** `names`: of the tools that were called before, by the id of the call; those of this message are added. */
function messageOf(message: Message, param: string, names: Map<string, string>): ChatMessage {
  const { role, tool_calls: calls, tool_call_id: id } = message;
  const content = textOf(message, param);
  if (calls != null && calls.length > 0 && role !== "assistant")
    throw wrong(`${param}.tool_calls`, `\`${param}.tool_calls\`: the assistant alone calls. Leave it out.`);
  if (role === "tool") {
    const name = id == null ? undefined : names.get(id);
    if (id == null || name === undefined)
      throw wrong(
        `${param}.tool_call_id`,
        `\`${param}.tool_call_id\` is no call of a message before. Name the id that the call has there.`,
      );
    return { role, content, tool_call_id: templateId(id), name };
  }
  if (id != null)
    throw wrong(
      `${param}.tool_call_id`,
      `\`${param}.tool_call_id\`: tools alone answer calls. Leave it out.`,
    );
  const structured = (calls ?? []).map((one) => {
    const { name, arguments: text } = one.function;
    names.set(one.id, name);
    const given = parseJson(text) ?? text;
    return { id: templateId(one.id), type: one.type, function: { name, arguments: given } };
  });
  const known = role === "developer" ? "system" : role; // what is called developer elsewhere is the system
  return { role: known, content, ...(structured.length > 0 && { tool_calls: structured }) };
}

/** As chat templates know them. Throws ServeError for a message that lacks what its role must have. */
export function messagesOf({ messages }: { messages: readonly Message[] }): ChatMessage[] {
  const names = new Map<string, string>();
  return messages.map((message, at) => messageOf(message, `messages[${at}]`, names));
}
