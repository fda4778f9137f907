// SPDX-License-Identifier: Apache-2.0
// Rounds: the same steps over and over, up to `max` times or until a condition holds. Every output reads what was
// shared before it, in order of turns: earlier rounds and this one. FTHSS's multi-round chains (arXiv 2502.11083).

import { checkOptionNames, invalidOption } from "../step-options.js";
import type { CallContext, RoundContext } from "../types.js";
import { checkBody, checkNothingGiven } from "./group.js";
import type { Step } from "./step.js";

export interface RoundsStepOptions {
  body: readonly Step[];
  max: number;
  until?: ((results: never, context: CallContext & RoundContext) => boolean | Promise<boolean>) | undefined;
}

const kind = "Rounds";

export function createRoundsStep(name: string, options: RoundsStepOptions): Step {
  checkOptionNames(kind, name, options, ["body", "max", "until"]);
  const { body, max, until } = options;
  if (!Number.isInteger(max) || max < 1) {
    throw invalidOption(kind, name, "max", max, "a whole number of at least 1");
  }
  if (until !== undefined && typeof until !== "function") {
    throw invalidOption(kind, name, "until", until, "a function");
  }
  checkBody(kind, name, body);
  checkNothingGiven(kind, name, body);
  return {
    name,
    claims: [],
    claimable: false,
    given: false,
    body,
    runs: { least: 1, most: max, numbered: true },
    note: `up to ${max} rounds`,
    withBody: (inside) => createRoundsStep(name, { ...options, body: inside }),
    plan(planner) {
      const count = planner.instancesOf(name, max);
      const labels = Array.from({ length: count }, (_, round) => `[${round}]`);
      planner.planInLine(name, labels, body);
    },
    async execute(scope) {
      const { run } = scope;
      const rounds: Record<string, unknown>[] = [];
      let stopped: "until" | "max" = "max";
      while (stopped === "max" && rounds.length < max) {
        const round = rounds.length;
        run.decide(scope.nameOf(name), Math.min(round + 2, max)); // this one, and what the next would read
        const also = { [name]: { rounds: [...rounds] } };
        const inner = scope.inner(name, `[${round}]`, { facts: { round }, also });
        await inner.execute(body);
        rounds.push(inner.declared());
        also[name]?.rounds.push(inner.declared());
        if (until !== undefined && (await inner.ask(scope.nameOf(name), "The `until` condition of", until)))
          stopped = "until";
      }
      run.decide(scope.nameOf(name), rounds.length);
      run.releaseUnread();
      scope.set(name, { rounds, stopped });
    },
  };
}
