// SPDX-License-Identifier: Apache-2.0
// Schemas of answers, for the OpenAPI document alone: what is sent is made by code of this folder, and tests hold the two
// together.

import { z } from "@hono/zod-openapi";

export const errorSchema = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string(),
    }),
  })
  .openapi("Error");

export const usageSchema = z
  .object({
    prompt_tokens: z.int(),
    completion_tokens: z.int(),
    total_tokens: z.int(),
    prompt_tokens_details: z.object({ cached_tokens: z.int() }),
  })
  .openapi("Usage");

const head = { id: z.string(), created: z.int(), model: z.string(), system_fingerprint: z.string() };
const finish = z.enum(["stop", "length"]);
const chatFinish = z.enum(["stop", "length", "tool_calls"]);
const toolCall = z.object({
  id: z.string(),
  type: z.literal("function"),
  function: z.object({ name: z.string(), arguments: z.string() }),
});
const logprobs = z.looseObject({}).nullable();

export const chatAnswerSchema = z
  .object({
    ...head,
    object: z.literal("chat.completion"),
    choices: z.array(
      z.object({
        index: z.literal(0),
        message: z.object({
          role: z.literal("assistant"),
          content: z.string().nullable(),
          refusal: z.null(),
          tool_calls: z.array(toolCall).optional(),
        }),
        logprobs,
        finish_reason: chatFinish,
      }),
    ),
    usage: usageSchema,
  })
  .openapi("ChatCompletion");

export const completionAnswerSchema = z
  .object({
    ...head,
    object: z.literal("text_completion"),
    choices: z.array(z.object({ index: z.literal(0), text: z.string(), logprobs, finish_reason: finish })),
    usage: usageSchema,
  })
  .openapi("Completion");

export const modelsSchema = z
  .object({
    object: z.literal("list"),
    data: z.array(
      z.object({ id: z.string(), object: z.literal("model"), created: z.int(), owned_by: z.string() }),
    ),
  })
  .openapi("Models");

const chainResult = z.looseObject({}).openapi({
  description: "Of a stage: text, tokens, reason and usage; of a group, what its steps gave",
});

export const chainAnswerSchema = z
  .object({
    id: z.string(),
    object: z.literal("chain.run"),
    created: z.int(),
    chain: z.string(),
    results: z.record(z.string(), z.union([chainResult, z.array(chainResult)])),
    usage: usageSchema,
  })
  .openapi("ChainRun");
