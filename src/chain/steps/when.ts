// SPDX-License-Identifier: Apache-2.0
// A condition on what is known so far: steps that run once or not at all. They stand where they would stand without
// it; when they do not run, nobody reads them.

import { checkOptionNames, invalidOption } from "../step-options.js";
import type { CallContext } from "../types.js";
import { checkBody, checkNothingGiven } from "./group.js";
import type { Step } from "./step.js";

export interface WhenStepOptions {
  body: readonly Step[];
  condition: (results: never, context: CallContext) => boolean | Promise<boolean>;
}

const kind = "When";

export function createWhenStep(name: string, options: WhenStepOptions): Step {
  checkOptionNames(kind, name, options, ["body", "condition"]);
  const { body, condition } = options;
  if (typeof condition !== "function") throw invalidOption(kind, name, "condition", condition, "a function");
  checkBody(kind, name, body);
  checkNothingGiven(kind, name, body);
  return {
    name,
    claims: [],
    claimable: false,
    given: false,
    body,
    runs: { least: 0, most: 1, numbered: false },
    note: "once or not at all",
    withBody: (inside) => createWhenStep(name, { ...options, body: inside }),
    plan(planner) {
      const ran = planner.instancesOf(name, 1) > 0;
      planner.planInLine(name, ran ? [""] : [], body);
    },
    async execute(scope) {
      const { run } = scope;
      const holds = await scope.ask(scope.nameOf(name), "The condition of", condition);
      run.decide(scope.nameOf(name), holds ? 1 : 0);
      if (!holds) {
        run.releaseUnread();
        scope.set(name, undefined);
        return;
      }
      const inner = scope.inner(name, "");
      await inner.execute(body);
      scope.set(name, inner.declared());
    },
  };
}
