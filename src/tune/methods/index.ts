// SPDX-License-Identifier: Apache-2.0
// The tuning methods. A new one is one file and one line here.

import { promptMethod } from "./prompt.js";

export const methods = {
  prompt: promptMethod,
} as const;

export type MethodName = keyof typeof methods;
export const methodNames = Object.keys(methods) as readonly MethodName[];

export type { InitialRows, StageToTune, TuningMethod } from "./method.js";
export type { PromptInit, PromptTuning } from "./prompt.js";
