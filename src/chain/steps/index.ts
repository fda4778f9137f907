// SPDX-License-Identifier: Apache-2.0
// The kinds of step that a chain is built of. A new kind is one file and one line here.

import { createInputStep } from "./input.js";
import { createRoundsStep } from "./rounds.js";
import { createStageStep } from "./stage.js";

export const stepKinds = {
  input: createInputStep,
  stage: createStageStep,
  rounds: createRoundsStep,
} as const;

export type { Step } from "./step.js";
