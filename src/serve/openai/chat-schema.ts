// SPDX-License-Identifier: Apache-2.0
// The body of a chat request, and its messages as texts.

import { z } from "@hono/zod-openapi";
import type { ChatMessage } from "../../index.js";
import { ServeError, unsupported } from "../errors.js";
import {
  ignoredFields,
  modelField,
  outputFields,
  promptNameField,
  sessionField,
  streamFields,
} from "./fields.js";
import { responseFormatField } from "./response-format.js";

const textPart = z.strictObject({ type: z.literal("text"), text: z.string() });
/** What clients hand back when they send an answer as a message again. */
const nothing = z.null().optional();

const message = z.strictObject({
  role: z.enum(["system", "developer", "user", "assistant"]),
  content: z.union([z.string(), z.array(textPart).min(1)]),
  refusal: nothing,
  audio: nothing,
  function_call: nothing,
  name: nothing,
  tool_calls: z.array(z.unknown()).max(0).nullish(),
  annotations: z.array(z.unknown()).nullish(),
});

const one = z.literal(1).nullish();

export const chatSchema = z
  .strictObject({
    model: modelField,
    messages: z.array(message).min(1).max(4096),
    ...outputFields,
    max_completion_tokens: outputFields.max_tokens.openapi({ description: "The newer name of `max_tokens`" }),
    logprobs: z.boolean().nullish(),
    top_logprobs: z.int().min(0).max(20).nullish().openapi({ description: "Needs `logprobs`" }),
    ...streamFields,
    session: sessionField,
    prompt: promptNameField,
    inputs: z
      .record(z.string(), z.string())
      .nullish()
      .openapi({ description: "Of a chain: its inputs besides the one that the user's message is" }),
    ...ignoredFields,
    n: one,
    tools: z.array(z.unknown()).max(0).nullish(),
    tool_choice: z.enum(["none", "auto"]).nullish(),
    functions: z.array(z.unknown()).max(0).nullish(),
    function_call: z.enum(["none", "auto"]).nullish(),
    response_format: responseFormatField,
    modalities: z.array(z.literal("text")).min(1).max(1).nullish(),
    reasoning_effort: z.literal("none").nullish(),
    verbosity: z.literal("medium").nullish(),
    audio: nothing,
    web_search_options: nothing,
    moderation: nothing,
  })
  .openapi("ChatCompletionRequest");

export type ChatBody = z.infer<typeof chatSchema>;

type Raw = Record<string, unknown>;

/** What of a message stands for something that is not here, by name. Throws ServeError. */
export function refuseMessages(body: unknown): void {
  const { messages } = (body ?? {}) as Raw;
  if (!Array.isArray(messages)) return;
  for (const [at, given] of messages.entries()) {
    const { role, content, name, tool_calls: calls } = (given ?? {}) as Raw;
    const param = `messages[${at}]`;
    if (role === "tool" || role === "function")
      throw unsupported(
        `${param}.role`,
        `This server calls no tools, so no message is of the role "${role}".`,
      );
    if (Array.isArray(calls) && calls.length > 0)
      throw unsupported(
        `${param}.tool_calls`,
        "This server calls no tools. Send the call as text, or leave it out.",
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

const textOf = (content: ChatBody["messages"][number]["content"]): string =>
  typeof content === "string" ? content : content.map(({ text }) => text).join("");

/** As chat templates know them: what is called developer elsewhere is the system. */
export function messagesOf({ messages }: ChatBody): ChatMessage[] {
  return messages.map(({ role, content }) => ({
    role: role === "developer" ? "system" : role,
    content: textOf(content),
  }));
}

/** Throws ServeError where both names of one field say different things. */
export function maxTokensOf(
  { max_tokens: old, max_completion_tokens: now }: ChatBody,
  fallback: number,
): number {
  if (old != null && now != null && old !== now) {
    throw new ServeError(
      400,
      "invalid_value",
      `\`max_tokens\` is ${old} and \`max_completion_tokens\` ${now}. Give one of them.`,
      { param: "max_tokens" },
    );
  }
  return now ?? old ?? fallback;
}

/** Alternatives to report, or null for no log-probabilities. Throws ServeError. */
export function logprobsOf({ logprobs, top_logprobs: top }: ChatBody): number | null {
  if (logprobs === true) return top ?? 0;
  if (top == null || top === 0) return null;
  throw new ServeError(
    400,
    "invalid_value",
    "`top_logprobs` needs `logprobs: true`. Give both, or neither.",
    {
      param: "top_logprobs",
    },
  );
}
