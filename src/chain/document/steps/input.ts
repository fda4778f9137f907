// SPDX-License-Identifier: Apache-2.0
// { "input": NAME, ... }: as `.input`; `from` names a function.

import type { DocumentStep } from "../contract.js";

interface InputNode {
  input: string;
  format?: string;
  alone?: boolean;
  reads?: string[];
  from?: string;
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
  add(builder, { input, from, ...options }, { functionOf }) {
    return builder.input(
      input,
      from === undefined ? options : { ...options, from: functionOf(from, "from") },
    );
  },
};
