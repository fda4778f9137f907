// SPDX-License-Identifier: Apache-2.0
// `response_format`: what the text of an answer is held to, token by token. The model is told nothing of it.

import { z } from "@hono/zod-openapi";
import { grammarOf } from "../../cache/grammar.js";
import { checkOutputSchema } from "../../cache/output-schema.js";
import type { Model, OutputSchema } from "../../index.js";
import { BatonError } from "../../index.js";
import { ServeError, unsupported } from "../errors.js";

const jsonSchema = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
  description: z.string().nullish(),
  schema: z.looseObject({}).nullish().openapi({ description: "JSON Schema; default: any object" }),
  strict: z.boolean().nullish().openapi({ description: "Taken, without effect: every schema is followed" }),
});

export const responseFormatField = z
  .union([
    z.strictObject({ type: z.literal("text") }),
    z.strictObject({ type: z.literal("json_object") }),
    z.strictObject({ type: z.literal("json_schema"), json_schema: jsonSchema }),
  ])
  .nullish()
  .openapi({ description: "What the text of the answer is held to; the model is told nothing of it" });

export type ResponseFormat = z.infer<typeof responseFormatField>;

/** Null: any text. */
export function outputOf(format: ResponseFormat): { jsonSchema: object } | null {
  if (format == null || format.type === "text") return null;
  const given = format.type === "json_schema" ? format.json_schema.schema : null;
  return { jsonSchema: given ?? { type: "object" } };
}

export const noStop = (param: string) =>
  new ServeError(
    400,
    "invalid_value",
    `\`stop\` does not go with \`${param}\`, which says where the text ends. Leave it out.`,
    {
      param: "stop",
    },
  );

const owner = { label: "The request", facts: {} };

/** The remedy of a schema that a grammar cannot follow, or that no text can satisfy. */
const remedy =
  "Change or leave out what it names; what a grammar cannot say is for you to check in the answer.";

/**
 * Makes the grammar, which the model keeps, before anything is computed: a request that cannot be served is refused, and
 * a stream has not begun. Throws ServeError 400 naming `param`.
 */
export async function checkOutput(model: Model, output: OutputSchema, param: string): Promise<void> {
  try {
    const form = checkOutputSchema(owner, output);
    if (form !== null) await grammarOf(owner, model, form);
  } catch (error) {
    if (!BatonError.isInstance(error)) throw error;
    if (error.code === "CONSTRAINT_UNAVAILABLE")
      throw unsupported(
        param,
        `\`${param}\`: this server's build has no grammars. Leave it out, and check what comes.`,
      );
    if (error.code !== "CONSTRAINT_INVALID") throw error;
    const problem = String(error.facts.problem ?? error.message).replace(/\.$/, "");
    throw new ServeError(
      400,
      "invalid_json_schema",
      `\`${param}\` has a schema that no answer can follow: ${problem}. ${remedy}`,
      { param, cause: error },
    );
  }
}
