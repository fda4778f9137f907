// SPDX-License-Identifier: Apache-2.0
// Fields that requests have in common, as schemas: they check what comes and make the OpenAPI document. Every optional
// field may be null, as OpenAI's may.

import { z } from "@hono/zod-openapi";
import type { GenerationOptions } from "../../index.js";
import { namePattern, promptPattern } from "../names.js";

/** Taken, without effect: nothing of an answer depends on them. */
const withoutEffect = z.unknown().nullish().openapi({ description: "Taken, without effect" });

export const ignoredFields = {
  user: withoutEffect,
  metadata: withoutEffect,
  store: withoutEffect,
  service_tier: withoutEffect,
  safety_identifier: withoutEffect,
  prompt_cache_key: withoutEffect,
  prompt_cache_retention: withoutEffect,
  prediction: withoutEffect,
  parallel_tool_calls: withoutEffect,
};

export const modelField = z.string().min(1).max(256).openapi({
  description: "A model of this server, or `chain:` and the name of a chain; `/v1/models` lists them",
});

export const sessionField = z
  .string()
  .min(1)
  .max(128)
  .regex(new RegExp(namePattern))
  .nullish()
  .openapi({
    description:
      "Keeps the rows of this request for the next one of the same session, which brings the whole conversation again. One " +
      "request at a time; sessions of one key are unseen by others",
  });

export const promptNameField = z.string().min(1).max(256).regex(new RegExp(promptPattern)).nullish().openapi({
  description:
    "A soft prompt by its name in the server's folder of prompts; its rows stand before all others",
});

const tokens = z
  .int()
  .min(1)
  .max(2 ** 31 - 1);

const tokenIdPattern = "^(0|[1-9][0-9]{0,8})$";

/** The generator of the document leaves patterns of keys out, and its types do not know OpenAPI 3.1's name for them. */
const tokenIdKeys: object = {
  description: "Added to logits, by token id; -100 bans a token",
  propertyNames: { type: "string", pattern: tokenIdPattern },
};

/** How an output is sampled and where it ends. */
export const outputFields = {
  max_tokens: tokens
    .nullish()
    .openapi({ description: "Most tokens of the output; the server has a default" }),
  temperature: z.number().min(0).max(2).nullish().openapi({ description: "Default 1; 0 is greedy" }),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .nullish(),
  min_p: z.number().min(0).lt(1).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  repetition_penalty: z.number().gt(0).max(10).nullish(),
  logit_bias: z
    .record(z.string().regex(new RegExp(tokenIdPattern)), z.number().min(-100).max(100))
    .nullish()
    .openapi(tokenIdKeys),
  seed: z.int().nullish().openapi({ description: "Default: another one for every request" }),
  stop: z
    .union([z.string().min(1), z.array(z.string().min(1)).max(16)])
    .nullish()
    .openapi({ description: "Texts that end the output; they are no part of it" }),
  ignore_eos: z
    .boolean()
    .nullish()
    .openapi({ description: "Goes on behind closing tokens, for measurements" }),
};

export const streamFields = {
  stream: z.boolean().nullish(),
  stream_options: z
    .strictObject({ include_usage: z.boolean().nullish(), include_obfuscation: z.boolean().nullish() })
    .nullish(),
};

const outputSchema = z.object(outputFields);
export type OutputFields = z.infer<typeof outputSchema>;

const bannedFrom = -100;

/** The same as options of the library. */
export function generationOptions(fields: OutputFields, maxTokens: number): GenerationOptions {
  const { stop, seed } = fields;
  const options: GenerationOptions = {
    maxTokens,
    temperature: fields.temperature ?? 1,
    seed: seed === undefined || seed === null ? randomSeed() : ((seed % 2 ** 32) + 2 ** 32) % 2 ** 32,
  };
  if (fields.top_p != null) options.topP = fields.top_p;
  if (fields.top_k != null) options.topK = fields.top_k;
  if (fields.min_p != null) options.minP = fields.min_p;
  if (fields.presence_penalty != null) options.presencePenalty = fields.presence_penalty;
  if (fields.frequency_penalty != null) options.frequencyPenalty = fields.frequency_penalty;
  if (fields.repetition_penalty != null) options.repetitionPenalty = fields.repetition_penalty;
  if (stop != null && stop.length > 0) options.stop = stop;
  if (fields.ignore_eos === true) options.closers = [];
  if (fields.logit_bias != null) {
    const banned = (bias: number) => (bias <= bannedFrom ? Number.NEGATIVE_INFINITY : bias);
    options.logitBias = Object.fromEntries(
      Object.entries(fields.logit_bias).map(([id, bias]) => [Number(id), banned(bias)]),
    );
  }
  return options;
}

const randomSeed = () => Math.floor(Math.random() * 2 ** 32);
