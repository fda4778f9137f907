// SPDX-License-Identifier: Apache-2.0
// The kinds of step that a chain is built of. A new kind is one file and one line here.

import { createFanOutStep } from "./fan-out.js";
import { createInputStep } from "./input.js";
import { createJoinStep } from "./join.js";
import { createRoundsStep } from "./rounds.js";
import { createStageStep } from "./stage.js";
import { createUseStep } from "./use.js";
import { createWhenStep } from "./when.js";

export const stepKinds = {
  input: createInputStep,
  stage: createStageStep,
  rounds: createRoundsStep,
  when: createWhenStep,
  fanOut: createFanOutStep,
  join: createJoinStep,
  use: createUseStep,
} as const;

export type { Step } from "./step.js";
