// SPDX-License-Identifier: Apache-2.0
// The JSON Schema of a chain document, put together from the schemas of the steps. What the package publishes as
// chain.schema.json is this.

import { cachePolicies, devicePattern, draftingModes, kvTypes, restoreModes } from "../../model/options.js";
import type { JsonSchema } from "./contract.js";
import { documentSteps } from "./steps/index.js";

const definitions = {
  name: {
    type: "string",
    pattern: "^[\\p{L}_$][\\p{L}\\p{N}_$-]*$",
    description: 'A letter, then letters, digits, "_", "$" or "-".',
  },
  names: { type: "array", items: { $ref: "#/definitions/name" } },
  texts: { type: "array", items: { type: "string", minLength: 1 } },
} as const;

const stepsOf = (items: JsonSchema) => ({ type: "array", minItems: 1, items });

/** Schema of one kind of step, complete in itself; steps inside are only objects here. */
export function stepSchema(schema: JsonSchema): JsonSchema {
  return { ...schema, definitions: { ...definitions, steps: stepsOf({ type: "object" }) } };
}

/** Schema of the document around its steps, complete in itself. */
export const frameSchema = {
  type: "object",
  required: ["model", "steps"],
  additionalProperties: false,
  properties: {
    $schema: { type: "string" },
    model: { type: "string", minLength: 1, description: "A name that `baton pull` knows, or a file." },
    options: {
      type: "object",
      description: "How the model is loaded.",
      additionalProperties: false,
      properties: {
        device: { type: "string", pattern: devicePattern },
        threads: { type: "integer", minimum: 1 },
        cacheBytes: { type: "integer", minimum: 1 },
        indexBytes: { type: "integer", minimum: 0 },
        cachePolicy: { enum: cachePolicies },
        restore: { enum: restoreModes },
        kvType: { enum: kvTypes },
        activations: { enum: ["int8", "float32"] },
        batchInvariant: { type: "boolean" },
        maxBatchRows: { type: "integer", minimum: 1 },
        drafting: { enum: draftingModes },
        watchNumbers: { type: "boolean" },
        maxConcurrentRuns: { type: "integer", minimum: 1 },
        maxQueuedRuns: { type: "integer", minimum: 0 },
      },
    },
    layout: { enum: ["contiguous", "concatenated"] },
    steps: stepsOf({ type: "object" }),
  },
} as const;

/** The whole, for editors and other programs. */
export const chainSchema: JsonSchema = {
  $schema: "http://json-schema.org/draft-07/schema#",
  title: "Baton chain",
  description: "A chain of prompt-tuned stages over one language model and one KV cache.",
  ...frameSchema,
  properties: {
    ...frameSchema.properties,
    steps: { $ref: "#/definitions/steps" },
  },
  definitions: {
    ...definitions,
    step: { oneOf: documentSteps.map((one) => one.schema) },
    steps: stepsOf({ $ref: "#/definitions/step" }),
  },
};
