// SPDX-License-Identifier: Apache-2.0
// A condition as data: a regular expression that is looked for in what a stage has written.

import { ChainInvalidError } from "../../errors.js";
import { didYouMean } from "../../suggest.js";
import type { JsonSchema } from "./contract.js";

export interface Condition {
  stage: string;
  matches: string;
  ignoreCase?: boolean;
}

export const conditionSchema: JsonSchema = {
  type: "object",
  description: "Holds when the expression is found in the stage's text.",
  required: ["stage", "matches"],
  additionalProperties: false,
  properties: {
    stage: { $ref: "#/definitions/name" },
    matches: { type: "string", minLength: 1, description: "An ECMAScript regular expression, Unicode mode." },
    ignoreCase: { type: "boolean" },
  },
};

type Results = Readonly<Record<string, { text?: unknown } | undefined>>;

/**
 * `where`: place in the document, for messages; `stages`: those that may have written by then. A stage that did not run
 * matches nothing. Throws CHAIN_INVALID for another stage and for an expression that is none.
 */
export function conditionOf(
  { stage, matches, ignoreCase }: Condition,
  where: string,
  stages: readonly string[],
): (results: Results) => boolean {
  if (!stages.includes(stage)) {
    throw new ChainInvalidError(
      `${where}.stage is "${stage}", which is no stage that has written by then (${stages.join(", ") || "none has"}).${didYouMean(stage, stages)}`,
      { facts: { path: `${where}.stage`, value: stage, available: stages } },
    );
  }
  const expression = expressionOf(matches, ignoreCase === true ? "iu" : "u", `${where}.matches`);
  return (results) => {
    const text = results[stage]?.text;
    return typeof text === "string" && expression.test(text);
  };
}

function expressionOf(matches: string, flags: string, path: string): RegExp {
  try {
    return new RegExp(matches, flags);
  } catch (cause) {
    throw new ChainInvalidError(`${path} is no regular expression: ${(cause as Error).message}. Mend it.`, {
      facts: { path, value: matches },
      cause,
    });
  }
}
