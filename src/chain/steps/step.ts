// SPDX-License-Identifier: Apache-2.0
// What a chain knows about a step. Shared code asks for these properties and never which kind of step it has.

import type { Model } from "../../model/model.js";
import type { PromptSource, ResolvedPrompt } from "../../model/prompt.js";
import type { StageSettings } from "../options.js";
import type { Planner } from "../planner.js";
import type { RunState } from "../run-state.js";
import type { Scope } from "../scope.js";

export interface Step {
  readonly name: string;
  /** Names of inputs that this step takes as its own. */
  readonly claims: readonly string[];
  /** A later step may take this one as its own input. */
  readonly claimable: boolean;
  /** Its value is given to `run`. */
  readonly given: boolean;
  /** How it generates; absent for a step that does not. */
  readonly settings?: StageSettings;
  /** Groups: the steps inside. */
  readonly body?: readonly Step[];
  /** Groups: the steps inside see nothing declared around the group. */
  readonly closed?: boolean;
  /** Groups: instances do not wait for each other, so that none can stand behind another on one absolute line. */
  readonly apart?: boolean;
  /** Groups: how often the steps inside may run, and whether instances are numbered; absent: once. */
  readonly runs?: { least: number; most: number; numbered: boolean };
  /** Groups: names of inputs inside that stand for segments around the group. */
  readonly bound?: readonly string[];
  /** Groups: how often the steps inside run, for people. */
  readonly note?: string;
  /** Stages: the same stage under another prompt. */
  withPrompt?(prompt: PromptSource): Step;
  /** Groups: the same group with other steps inside. */
  withBody?(body: readonly Step[]): Step;
  /** Its soft prompt, loaded once per model; null without one. */
  loadPrompt?(model: Model): Promise<ResolvedPrompt | null>;
  /** Adds the step's segments, or leaves them to its owner. Throws CHAIN_INVALID. */
  plan(planner: Planner): void;
  /** Before the first step of a run executes: everything that can fail without computing a row. */
  prepare?(run: RunState, site: string): Promise<void>;
  /** Once every step is prepared: says what is worth a warning. */
  warn?(run: RunState, site: string): void;
  /** Does the step's part of a run; returns when later steps may use its result. */
  execute(scope: Scope): Promise<void>;
}
