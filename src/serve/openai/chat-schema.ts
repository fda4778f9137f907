// SPDX-License-Identifier: Apache-2.0
// The body of a chat request.

import { z } from "@hono/zod-openapi";
import { ServeError } from "../errors.js";
import {
  ignoredFields,
  modelField,
  outputFields,
  promptNameField,
  sessionField,
  streamFields,
} from "./fields.js";
import { messageSchema } from "./messages.js";
import { responseFormatField } from "./response-format.js";
import { toolChoiceField, toolsField } from "./tools.js";

/** OpenAI has these, and nothing here stands for them. */
const nothing = z.null().optional();

const one = z.literal(1).nullish();

export const chatSchema = z
  .strictObject({
    model: modelField,
    messages: z.array(messageSchema).min(1).max(4096),
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
    tools: toolsField,
    tool_choice: toolChoiceField,
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
