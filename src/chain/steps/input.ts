// SPDX-License-Identifier: Apache-2.0
// An input: text that the program gives or computes. Its rows are computed when the first stage that reads it runs,
// in the same job; an input that nothing reads is never computed.

import { ChainInvalidError, OptionInvalidError } from "../../errors.js";
import { checkOptionNames, invalidOption } from "../step-options.js";
import type { ComputedInput, GivenInput } from "../types.js";
import type { Step } from "./step.js";

type From = (results: never, context: never) => string | Promise<string>;
export type AnyInputOptions = GivenInput<string> | ComputedInput<string, never, never>;

export function createInputStep(name: string, options: AnyInputOptions): Step {
  const { format, alone = false, reads } = checked(name, options);
  const from = options.from as From | undefined;
  const narrowed = alone ? [] : reads;

  return {
    name,
    claims: [],
    claimable: true,
    given: from === undefined,
    plan(planner) {
      planner.describe(name, { name, format: format ?? null, alone });
      if (planner.ownerOf(name) !== null) {
        planner.leaveToOwner(name, { alone, reads: narrowed });
        return;
      }
      planner.share("input", name, null, planner.resolve(name, narrowed, planner.shared(["input"])));
    },
    async execute(scope) {
      const what = "The `from` function of input";
      const text =
        from === undefined
          ? scope.givenText(name)
          : await scope.call(scope.nameOf(name), what, from, { eager: true }); // whoever waits, waits for the program
      scope.setInput(name, text);
    },
  };
}

const optionNames = ["format", "alone", "reads", "from"];

function checked(name: string, options: AnyInputOptions): AnyInputOptions {
  const { format, alone, reads, from } = options;
  checkOptionNames("Input", name, options, optionNames);
  if (alone !== undefined && typeof alone !== "boolean")
    throw invalidOption("Input", name, "alone", alone, "true or false");
  if (reads !== undefined && !(Array.isArray(reads) && reads.every((one) => typeof one === "string"))) {
    throw invalidOption("Input", name, "reads", reads, "a list of names");
  }
  if (alone === true && reads !== undefined) {
    throw new ChainInvalidError(
      `Input "${name}" is \`alone\` and has \`reads\`: an input that is alone reads nothing. Leave one of them out.`,
      { facts: { step: name } },
    );
  }
  if (format !== undefined && (typeof format !== "string" || !format.includes(`{${name}}`))) {
    throw new OptionInvalidError(
      `Input "${name}" has the format ${JSON.stringify(format)}, which does not contain {${name}}. ` +
        `Put {${name}} where the value belongs.`,
      { facts: { step: name, option: "format", value: String(format) } },
    );
  }
  if (from !== undefined && typeof from !== "function")
    throw invalidOption("Input", name, "from", from, "a function");
  return options;
}
