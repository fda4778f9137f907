// SPDX-License-Identifier: Apache-2.0
// { "when": NAME, "if": CONDITION, "steps": [...] }: as `.when`.

import type { Condition } from "../condition.js";
import { conditionOf, conditionSchema } from "../condition.js";
import type { DocumentStep } from "../contract.js";

interface WhenNode {
  when: string;
  if: Condition;
  steps: object[];
}

export const whenStep: DocumentStep<WhenNode> = {
  key: "when",
  schema: {
    type: "object",
    description: "Steps that run if a condition on an earlier stage holds.",
    required: ["when", "if", "steps"],
    additionalProperties: false,
    properties: {
      when: { $ref: "#/definitions/name" },
      if: conditionSchema,
      steps: { $ref: "#/definitions/steps" },
    },
  },
  add: (builder, { when, if: condition, steps }, { where, before, body }) =>
    builder.when(when, conditionOf(condition, `${where}.if`, before), body(steps)),
};
