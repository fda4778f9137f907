// SPDX-License-Identifier: Apache-2.0
// { "input": NAME, ... }: as `.input`; `from` names a function.

import { ChainInvalidError } from "../../../errors.js";
import type { DocumentContext, DocumentFunction, DocumentStep } from "../contract.js";

interface InputNode {
  input: string;
  format?: string;
  alone?: boolean;
  reads?: string[];
  from?: string;
}

function functionOf(name: string, { functions, where }: DocumentContext): DocumentFunction {
  const found = Object.hasOwn(functions, name) ? functions[name] : undefined;
  if (typeof found === "function") return found as DocumentFunction;
  const available = Object.keys(functions).filter((one) => typeof functions[one] === "function");
  throw new ChainInvalidError(
    `${where}.from names the function "${name}", which is not among those given (${available.join(", ") || "none"}). ` +
      "Give it, on the command line in the module of --functions.",
    { facts: { path: `${where}.from`, value: name, available } },
  );
}

export const inputStep: DocumentStep<InputNode> = {
  key: "input",
  schema: {
    type: "object",
    description:
      "A text that is given to the run, or computed by a function once all steps before it have ended.",
    required: ["input"],
    additionalProperties: false,
    properties: {
      input: { $ref: "#/definitions/name" },
      format: { type: "string", description: "Text around the value, which stands where {NAME} does." },
      alone: { type: "boolean", description: "Reads nothing at all: found again for every question." },
      reads: { $ref: "#/definitions/names" },
      from: { type: "string", description: "Name of a function of the module of --functions." },
    },
  },
  add(builder, { input, from, ...options }, context) {
    return builder.input(
      input,
      from === undefined ? options : { ...options, from: functionOf(from, context) },
    );
  },
};
