// SPDX-License-Identifier: Apache-2.0
// { "join": NAME, "reads": [...], ... }: as `.join`, a stage that must have something to read.

import type { DocumentStep } from "../contract.js";
import { stageOptions, stageProperties } from "./stage.js";

interface JoinNode {
  join: string;
  reads: string[];
  [option: string]: unknown;
}

export const joinStep: DocumentStep<JoinNode> = {
  key: "join",
  schema: {
    type: "object",
    description: "A stage that joins what it reads, the branches of a fan-out end to end.",
    required: ["join", "reads"],
    additionalProperties: false,
    properties: { join: { $ref: "#/definitions/name" }, ...stageProperties },
  },
  add: (builder, { join, ...options }, { directory }) => builder.join(join, stageOptions(options, directory)),
};
