// SPDX-License-Identifier: Apache-2.0
// { "stage": NAME, ... }: as `.stage`; a prompt is a folder beside the document, or a text.

import { resolve } from "node:path";
import { draftingModes } from "../../../model/options.js";
import type { DocumentStep, JsonSchema } from "../contract.js";

interface StageNode {
  stage: string;
  prompt?: string | { text: string; virtualTokens?: number };
  logitBias?: Biases;
  [option: string]: unknown;
}

const number = (description: string) => ({ type: "number", description });
const integer = (description: string) => ({ type: "integer", description });

/** Options of `.stage`, but for rows of a prompt, which no document holds. */
export const stageProperties: JsonSchema = {
  prompt: {
    description: "A PEFT PROMPT_TUNING folder, relative to the document, or a text.",
    anyOf: [
      { type: "string", minLength: 1 },
      {
        type: "object",
        required: ["text"],
        additionalProperties: false,
        properties: { text: { type: "string" }, virtualTokens: { type: "integer", minimum: 1 } },
      },
    ],
  },
  own: { $ref: "#/definitions/names" },
  reads: { $ref: "#/definitions/names" },
  opener: { type: "string", description: "Text that begins the output, unscored." },
  lead: { type: "string", description: "Stripped from the start of the generated text." },
  closers: { $ref: "#/definitions/texts" },
  stop: { anyOf: [{ type: "string" }, { $ref: "#/definitions/texts" }] },
  maxTokens: integer("Most tokens generated."),
  temperature: number("0 is greedy."),
  topK: integer("Keep the k likeliest tokens; 0 keeps all."),
  topP: number("Keep the smallest set of tokens with this probability."),
  minP: number("Keep tokens at least this fraction as likely as the likeliest."),
  repetitionPenalty: number("Divides the logits of tokens already in this output."),
  presencePenalty: number("Subtracted once from the logits of tokens already in this output."),
  frequencyPenalty: number("Subtracted from a token's logit once per occurrence in this output."),
  logitBias: {
    type: "object",
    description: 'Added to logits, by token id; "ban": the token never occurs.',
    propertyNames: { pattern: "^(0|[1-9][0-9]*)$" },
    additionalProperties: { anyOf: [{ type: "number" }, { const: "ban" }] },
  },
  logprobs: integer("Reports log-probabilities of every token and of so many likeliest ones in its place."),
  seed: integer("Of this stage's random numbers."),
  output: {
    description: "What the text must be: a JSON Schema, or a regular expression.",
    anyOf: [
      {
        type: "object",
        required: ["jsonSchema"],
        additionalProperties: false,
        properties: { jsonSchema: { anyOf: [{ type: "object" }, { type: "boolean" }] } },
      },
      {
        type: "object",
        required: ["regex"],
        additionalProperties: false,
        properties: { regex: { type: "string", minLength: 1 } },
      },
    ],
  },
  drafting: {
    enum: draftingModes,
    description:
      "Whether next tokens may be guessed and checked several at a time; else as the model is loaded.",
  },
};

type StageOptions = Omit<StageNode, "stage">;

type Biases = Readonly<Record<string, number | "ban">>;

/** JSON has no -Infinity. */
function biases(document: Biases): Record<string, number> {
  const pairs = Object.entries(document);
  return Object.fromEntries(
    pairs.map(([id, bias]) => [id, bias === "ban" ? Number.NEGATIVE_INFINITY : bias]),
  );
}

/** Options of `.stage` with the prompt's folder found. */
export function stageOptions({ prompt, logitBias, ...rest }: StageOptions, directory: string): object {
  const options = logitBias === undefined ? rest : { ...rest, logitBias: biases(logitBias as Biases) };
  if (prompt === undefined) return options;
  return { ...options, prompt: typeof prompt === "string" ? resolve(directory, prompt) : prompt };
}

export const stageStep: DocumentStep<StageNode> = {
  key: "stage",
  schema: {
    type: "object",
    description: "A specialist: reads what it names and writes one output.",
    required: ["stage"],
    additionalProperties: false,
    properties: { stage: { $ref: "#/definitions/name" }, ...stageProperties },
  },
  add: (builder, { stage, ...options }, { directory }) =>
    builder.stage(stage, stageOptions(options, directory)),
};
