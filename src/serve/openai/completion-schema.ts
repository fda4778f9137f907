// SPDX-License-Identifier: Apache-2.0
// The body of a completion request. Here `prompt` is the text, so a soft prompt is asked for as `soft_prompt`.

import { z } from "@hono/zod-openapi";
import { unsupported } from "../errors.js";
import {
  ignoredFields,
  modelField,
  outputFields,
  promptNameField,
  sessionField,
  streamFields,
} from "./fields.js";

const one = z.literal(1).nullish();
const ids = z
  .array(
    z
      .int()
      .min(0)
      .max(2 ** 31 - 1),
  )
  .min(1);

export const completionSchema = z
  .strictObject({
    model: modelField,
    prompt: z
      .union([z.string().min(1), ids, z.array(z.string().min(1)).min(1).max(1), z.array(ids).min(1).max(1)])
      .openapi({ description: "A text or token ids" }),
    ...outputFields,
    logprobs: z
      .int()
      .min(0)
      .max(20)
      .nullish()
      .openapi({ description: "Alternatives to report for each token" }),
    ...streamFields,
    session: sessionField,
    soft_prompt: promptNameField,
    ...ignoredFields,
    n: one,
    best_of: one,
    echo: z.literal(false).nullish(),
    suffix: z.literal("").nullish(),
  })
  .openapi("CompletionRequest");

export type CompletionBody = z.infer<typeof completionSchema>;

/** Several prompts in one request. Throws ServeError. */
export function refusePrompts(body: unknown): void {
  const prompt = (body as { prompt?: unknown } | null)?.prompt;
  if (!Array.isArray(prompt) || prompt.length < 2 || typeof prompt[0] === "number") return;
  throw unsupported(
    "prompt",
    `\`prompt\` is a list of ${prompt.length}. Send one request for each; they run at once.`,
  );
}

/** A text, or ids. */
export function promptOf({ prompt }: CompletionBody): string | readonly number[] {
  if (typeof prompt === "string") return prompt;
  const [first] = prompt;
  return typeof first === "number" ? (prompt as number[]) : (first as string | number[]);
}
