// SPDX-License-Identifier: Apache-2.0
// { "rounds": NAME, "max": N, "until": CONDITION, "steps": [...] }: as `.rounds`.

import type { Condition } from "../condition.js";
import { conditionOf, conditionSchema } from "../condition.js";
import type { DocumentStep } from "../contract.js";

interface RoundsNode {
  rounds: string;
  max: number;
  until?: Condition;
  steps: object[];
}

export const roundsStep: DocumentStep<RoundsNode> = {
  key: "rounds",
  schema: {
    type: "object",
    description: "Steps that take turns, up to `max` times or until a condition holds.",
    required: ["rounds", "max", "steps"],
    additionalProperties: false,
    properties: {
      rounds: { $ref: "#/definitions/name" },
      max: { type: "integer", minimum: 1 },
      until: conditionSchema,
      steps: { $ref: "#/definitions/steps" },
    },
  },
  add(builder, { rounds, max, until, steps }, { where, before, stagesOf, body }) {
    if (until === undefined) return builder.rounds(rounds, body(steps), { max });
    const stages = [...before, ...stagesOf(steps)];
    return builder.rounds(rounds, body(steps), { max, until: conditionOf(until, `${where}.until`, stages) });
  },
};
