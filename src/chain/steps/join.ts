// SPDX-License-Identifier: Apache-2.0
// A stage that must have something to join: it reads what it names, laid end to end in order of declaration, and
// fails when every group of steps among them has written nothing. Where that is no mistake, a stage is the thing.

import { ChainInvalidError } from "../../errors.js";
import type { StageOptions } from "../types.js";
import { createStageStep } from "./stage.js";
import type { Step } from "./step.js";

/** A fan-out without branches, a condition that did not hold. */
function isNothing(result: unknown): boolean {
  return result === undefined || (Array.isArray(result) && result.length === 0);
}

export function createJoinStep(name: string, options: StageOptions<string, string>): Step {
  const stage = createStageStep(name, options);
  const { reads = [] } = options;
  if (reads.length === 0) {
    throw new ChainInvalidError(
      `Join "${name}" names nothing in \`reads\`. Name the fan-out whose branches it joins, or declare a stage.`,
      { facts: { step: name } },
    );
  }
  return {
    ...stage,
    withPrompt: (prompt) => createJoinStep(name, { ...options, prompt }),
    async execute(scope) {
      const results = scope.results();
      const groups = reads.filter((one) => isNothing(results[one]) || Array.isArray(results[one]));
      if (groups.length > 0 && groups.every((one) => isNothing(results[one]))) {
        const label = scope.nameOf(name);
        throw new ChainInvalidError(
          `Join "${label}" has nothing to join: nothing ran in ${groups.map((one) => `"${one}"`).join(", ")}. ` +
            "Put it into a `when` that asks for it, or declare a stage, which reads what there is.",
          { facts: { step: label, available: groups } },
        );
      }
      await stage.execute(scope);
    },
  };
}
