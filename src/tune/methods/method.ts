// SPDX-License-Identifier: Apache-2.0
// What a tuning method is: which numbers of a stage are trained, and what they are before the first step. Shared code
// asks for these and never which method it has.

import type { Model } from "../../model/model.js";
import type { PromptSource } from "../../model/prompt.js";
import type { Random } from "../random.js";

/** A stage that is about to be trained. */
export interface StageToTune {
  model: Model;
  /** Its site, e.g. "answer" or "debate.reason". */
  stage: string;
  /** The prompt that its definition names; null: it has none yet. */
  prompt: PromptSource | null;
  /** Of this stage alone. */
  random: Random;
}

/** Trainable soft rows of a stage. */
export interface InitialRows {
  rows: number;
  /** [rows, hidden] */
  values: Float32Array;
}

export interface TuningMethod<Options extends object> {
  /** What of the options is not the method's to know, is refused by name. */
  readonly options: readonly (keyof Options & string)[];
  /** Throws OPTION_INVALID naming stage, option and value; PROMPT_INVALID; IO. */
  initialise(stage: StageToTune, options: Options): Promise<InitialRows>;
}
