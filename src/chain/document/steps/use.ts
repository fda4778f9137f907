// SPDX-License-Identifier: Apache-2.0
// { "use": NAME, "inputs": { INNER: OUTER or { "from": FUNCTION } }, "steps": [...] }: as `.use`, the chain in place.

import type { DocumentStep } from "../contract.js";

interface UseNode {
  use: string;
  inputs: Record<string, string | { from: string }>;
  steps: object[];
}

export const useStep: DocumentStep<UseNode> = {
  key: "use",
  schema: {
    type: "object",
    description: "A chain inside of the chain: its steps see its own inputs and nothing else.",
    required: ["use", "inputs", "steps"],
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
    },
  },
  add(builder, { use, inputs, steps }, { empty, body, functionOf }) {
    const sources = Object.entries(inputs).map(([inner, source]) => [
      inner,
      typeof source === "string" ? source : functionOf(source.from, `inputs.${inner}.from`),
    ]);
    return builder.use(use, body(steps, true)(empty()), Object.fromEntries(sources));
  },
};
