// SPDX-License-Identifier: Apache-2.0
// { "use": NAME, "inputs": { INNER: OUTER or { "from": FUNCTION } }, "steps": [...] | "document": PATH }: as `.use`, the
// chain in place or in a document of its own.

import type { DocumentStep } from "../contract.js";

interface UseNode {
  use: string;
  inputs: Record<string, string | { from: string }>;
  steps?: object[];
  document?: string;
}

export const useStep: DocumentStep<UseNode> = {
  key: "use",
  schema: {
    type: "object",
    description: "A chain inside of the chain: its steps see its own inputs and nothing else.",
    required: ["use", "inputs"],
    additionalProperties: false,
    properties: {
      use: { $ref: "#/definitions/name" },
      inputs: {
        type: "object",
        description: "What each input of the chain inside is: a step declared before, or a function.",
        additionalProperties: {
          anyOf: [
            { $ref: "#/definitions/name" },
            {
              type: "object",
              required: ["from"],
              additionalProperties: false,
              properties: { from: { type: "string" } },
            },
          ],
        },
      },
      steps: { $ref: "#/definitions/steps" },
      document: {
        type: "string",
        minLength: 1,
        description:
          "Path of the chain's document, from where this one lies. Its model and options are not looked at.",
      },
    },
    oneOf: [{ required: ["steps"] }, { required: ["document"] }],
  },
  add(builder, { use, inputs, steps, document: path = "" }, { empty, body, document, functionOf }) {
    const sources = Object.entries(inputs).map(([inner, source]) => [
      inner,
      typeof source === "string" ? source : functionOf(source.from, `inputs.${inner}.from`),
    ]);
    const chain = steps === undefined ? document(path) : body(steps, true);
    return builder.use(use, chain(empty()), Object.fromEntries(sources));
  },
};
