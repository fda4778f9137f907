// SPDX-License-Identifier: Apache-2.0
// The same steps under other prompts: a definition stays as it is, whatever its specialists learn.

import { ChainInvalidError } from "../errors.js";
import type { PromptSource } from "../model/prompt.js";
import { didYouMean } from "../suggest.js";
import { sitesOf } from "./names.js";
import type { Step } from "./steps/step.js";

/** `prompts`: by the site of the stage. Throws CHAIN_INVALID for a name that is no stage. */
export function withPrompts(
  steps: readonly Step[],
  prompts: Readonly<Record<string, PromptSource | undefined>>,
): Step[] {
  const stages = [...sitesOf(steps)].flatMap(({ step, site }) =>
    step.withPrompt === undefined ? [] : [site],
  );
  const unknown = Object.keys(prompts).find((site) => !stages.includes(site));
  if (unknown !== undefined) {
    throw new ChainInvalidError(
      `There is no stage "${unknown}" to take a prompt. The chain's stages are ${stages.join(", ") || "none"}.${didYouMean(unknown, stages)}`,
      { facts: { name: unknown, available: stages } },
    );
  }
  return replaced(steps, prompts, "");
}

function replaced(
  steps: readonly Step[],
  prompts: Readonly<Record<string, PromptSource | undefined>>,
  prefix: string,
): Step[] {
  return steps.map((step) => {
    const site = prefix + step.name;
    if (step.body !== undefined) return step.withBody?.(replaced(step.body, prompts, `${site}.`)) ?? step;
    const prompt = prompts[site];
    return prompt === undefined ? step : (step.withPrompt?.(prompt) ?? step);
  });
}
