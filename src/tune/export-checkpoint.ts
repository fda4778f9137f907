// SPDX-License-Identifier: Apache-2.0
// The prompts of a checkpoint as tune() would have written them had the run ended there: for a run that was stopped, or
// still goes on. The file says all that is needed, so that neither model nor chain nor data are.

import { CheckpointInvalidError, IoError, OptionInvalidError } from "../errors.js";
import { openCheckpoint } from "./checkpoint.js";
import type { TunedPrompt } from "./export.js";
import { exportPrompts, promptFolders } from "./export.js";
import type { Evaluation, TuneStep } from "./steps.js";

export interface TuneExportOptions {
  /** Folder of the prompt, as PEFT has them; of several prompts a folder with one for each stage. Default: none is written. */
  output?: string;
  /**
   * Which rows: of the lowest dev loss (default, if the run has evaluated after its first step), or the last. An
   * evaluation of before the first step says nothing of what was learned.
   */
  keep?: "best" | "last";
}

export interface TuneExportResult {
  /** By stage. */
  prompts: Readonly<Record<string, TunedPrompt>>;
  /** Steps after which the prompts were what they are. */
  step: number;
  /** All until the checkpoint was written. */
  steps: readonly TuneStep[];
  evaluations: readonly Evaluation[];
  /** The run had ended by itself. */
  finished: boolean;
}

function optionInvalid(option: string, value: unknown, message: string): OptionInvalidError {
  return new OptionInvalidError(message, { facts: { option, value: String(value) } });
}

function checkOptions({ output, keep }: TuneExportOptions): void {
  if (output !== undefined && (typeof output !== "string" || output === "")) {
    throw optionInvalid("output", output, "`output` must be the path of a folder.");
  }
  if (keep !== undefined && keep !== "best" && keep !== "last") {
    throw optionInvalid("keep", keep, `\`keep\` is ${JSON.stringify(keep)}; it must be "best" or "last".`);
  }
}

/**
 * Reads the prompts of a checkpoint, and writes them if `output` is given. Throws OPTION_INVALID, CHECKPOINT_INVALID for
 * what is damaged or of another version, PROMPT_INVALID, IO.
 */
export async function exportCheckpoint(
  checkpoint: string,
  options: TuneExportOptions = {},
): Promise<TuneExportResult> {
  checkOptions(options);
  if (typeof checkpoint !== "string" || checkpoint === "") {
    throw optionInvalid("checkpoint", checkpoint, "The checkpoint must be the path of a file.");
  }
  const file = await openCheckpoint(checkpoint);
  if (file === null) {
    throw new IoError(
      `There is no checkpoint ${checkpoint}. Name the file that the run was given, or that it wrote into its output folder.`,
      { facts: { path: checkpoint, code: "ENOENT" } },
    );
  }
  const keep = options.keep ?? (file.evaluations.some(({ step }) => step > 0) ? "best" : "last");
  const found = file.prompts(keep);
  if (found === null) {
    throw new CheckpointInvalidError(
      `The checkpoint ${checkpoint} has no best values: its run has not evaluated. Take the last ones.`,
      { facts: { path: checkpoint, step: file.step } },
    );
  }
  const stages = found.prompts.map(({ stage }) => stage);
  const folders = promptFolders(options.output, stages);
  const prompts = found.prompts.map((one, at) => ({ ...one, folder: folders[at] ?? null }));
  const { history: steps, evaluations, finished } = file;
  return { prompts: await exportPrompts(prompts), step: found.step, steps, evaluations, finished };
}
