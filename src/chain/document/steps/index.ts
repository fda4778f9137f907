// SPDX-License-Identifier: Apache-2.0
// The kinds of step that a document may hold. A new kind is one file and one line here.

import type { DocumentStep } from "../contract.js";
import { fanOutStep } from "./fan-out.js";
import { inputStep } from "./input.js";
import { joinStep } from "./join.js";
import { roundsStep } from "./rounds.js";
import { stageStep } from "./stage.js";
import { useStep } from "./use.js";
import { whenStep } from "./when.js";

export const documentSteps: readonly DocumentStep<never>[] = [
  inputStep,
  stageStep,
  joinStep,
  roundsStep,
  whenStep,
  fanOutStep,
  useStep,
];
