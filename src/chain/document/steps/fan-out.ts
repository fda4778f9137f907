// SPDX-License-Identifier: Apache-2.0
// { "fanOut": NAME, "items": FUNCTION or LIST | "samples": N, "steps": [...] }: as `.fanOut`.

import type { DocumentContext, DocumentStep } from "../contract.js";

interface FanOutNode {
  fanOut: string;
  items?: string | string[];
  samples?: number;
  steps: object[];
}

function sourceOf({ items, samples }: FanOutNode, { functionOf }: DocumentContext): object {
  if (items === undefined) return { samples };
  return { items: typeof items === "string" ? functionOf(items, "items") : () => items };
}

export const fanOutStep: DocumentStep<FanOutNode> = {
  key: "fanOut",
  schema: {
    type: "object",
    description:
      "Steps that run for each item, or so many times, at once and unseen by each other. Needs layout contiguous.",
    required: ["fanOut", "steps"],
    additionalProperties: false,
    properties: {
      fanOut: { $ref: "#/definitions/name" },
      items: {
        description: "The items, or the name of a function of the module of --functions that returns them.",
        anyOf: [{ type: "string" }, { $ref: "#/definitions/texts" }],
      },
      samples: { type: "integer", minimum: 1 },
      steps: { $ref: "#/definitions/steps" },
    },
    oneOf: [{ required: ["items"] }, { required: ["samples"] }],
  },
  add: (builder, node, context) =>
    builder.fanOut(node.fanOut, sourceOf(node, context), context.body(node.steps)),
};
