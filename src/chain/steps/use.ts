// SPDX-License-Identifier: Apache-2.0
// One chain inside of another. Its steps see its own inputs and nothing else, as if it ran alone; outside, its outputs
// are read. An input is bound to a step of the chain around, whose KV is then read where it is, or to a function, whose
// text is computed afresh.

import { ChainInvalidError, OptionInvalidError } from "../../errors.js";
import { didYouMean } from "../../suggest.js";
import { sitesOf } from "../names.js";
import type { SegmentId } from "../plan.js";
import type { Scope } from "../scope.js";
import { checkOptionNames, invalidOption } from "../step-options.js";
import type { CallContext } from "../types.js";
import { checkBody } from "./group.js";
import type { Step } from "./step.js";

type Source = string | ((results: never, context: CallContext) => string | Promise<string>);

export interface UseStepOptions {
  /** The steps of the chain that is used. */
  body: readonly Step[];
  /** What its inputs are, by their names. */
  inputs: Readonly<Record<string, Source>>;
}

const kind = "Use";

export function createUseStep(name: string, options: UseStepOptions): Step {
  checkOptionNames(kind, name, options, ["body", "inputs"]);
  const { body, inputs } = options;
  checkBody(kind, name, body);
  checkSources(name, body, inputs);
  const bound = new Map(Object.entries(inputs));
  return {
    name,
    claims: [],
    claimable: false,
    given: false,
    body,
    closed: true,
    bound: [...bound].filter(([, source]) => typeof source === "string").map(([inner]) => inner),
    withBody: (inside) => createUseStep(name, { ...options, body: inside }),
    plan(planner) {
      const aliases = new Map<string, SegmentId>();
      for (const [inner, source] of bound) {
        if (typeof source === "string") aliases.set(inner, planner.latest(name, source));
      }
      planner.planClosed(name, body, aliases);
    },
    async execute(scope) {
      const given: Record<string, string> = {};
      for (const [inner, source] of bound) {
        if (typeof source === "string") continue;
        const what = `The function for input "${inner}" of`;
        given[inner] = (await scope.call(scope.nameOf(name), what, source)) as string; // checked as any input is
      }
      const inner = scope.inner(name, "", { outer: null, given, aliases: aliasesOf(scope, bound) });
      await inner.execute(body);
      scope.set(name, inner.outputs());
    },
  };
}

/** Texts of the inputs that are steps of the chain around. */
function aliasesOf(scope: Scope, bound: ReadonlyMap<string, Source>): Record<string, string> {
  const results = scope.results() as Record<string, { text: string }>;
  const aliases = [...bound].filter(([, source]) => typeof source === "string");
  return Object.fromEntries(aliases.map(([inner, source]) => [inner, results[source as string]?.text ?? ""]));
}

/** Throws CHAIN_INVALID for missing and unknown inputs and for own inputs that are not computed; OPTION_INVALID. */
function checkSources(name: string, body: readonly Step[], inputs: unknown): void {
  const expected = body.filter((step) => step.given).map((step) => step.name);
  const list = expected.map((one) => `"${one}"`).join(", ") || "none";
  if (typeof inputs !== "object" || inputs === null) {
    throw new OptionInvalidError(
      `Use "${name}" has no \`inputs\`. Say what the inputs ${list} of the chain are.`,
      { facts: { step: name, option: "inputs", value: String(inputs) } },
    );
  }
  const fail = (what: string, input: string) =>
    new ChainInvalidError(
      `${what} The chain used as "${name}" takes the inputs ${list}.${didYouMean(input, expected)}`,
      {
        facts: { step: name, name: input, available: expected },
      },
    );
  for (const [input, source] of Object.entries(inputs as Record<string, unknown>)) {
    if (!expected.includes(input)) throw fail(`"${input}" is not an input to be given.`, input);
    if (typeof source === "string") {
      const owner = [...sitesOf(body)].find(({ step }) => step.claims.includes(input));
      if (owner === undefined) continue;
      throw new ChainInvalidError(
        `Input "${input}" of the chain used as "${name}" is private to its stage "${owner.site}", so its rows cannot be ` +
          `those of "${source}". Give its text by a function: (results) => results.${source}.text`,
        { facts: { step: name, name: input } },
      );
    }
    if (typeof source !== "function") throw invalidOption(kind, name, input, source, "a name or a function");
  }
  for (const input of expected) {
    if (!Object.hasOwn(inputs, input)) throw fail(`Input "${input}" is missing.`, input);
  }
}
