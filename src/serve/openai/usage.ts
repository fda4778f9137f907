// SPDX-License-Identifier: Apache-2.0
// Usage as OpenAI counts it. Tokens of a prompt are rows, those of a soft prompt included; cached ones are rows that were
// not computed again.

import type { StageUsage } from "../../index.js";

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
}

export function usageOf(promptRows: number, cachedRows: number, completionTokens: number): Usage {
  return {
    prompt_tokens: promptRows,
    completion_tokens: completionTokens,
    total_tokens: promptRows + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedRows },
  };
}

/** Of all stages of a run: what each read, whether it was there or had to be computed, and what all wrote. */
export function usageOfStages(usages: readonly StageUsage[]): Usage {
  let [prompt, cached, completion] = [0, 0, 0];
  for (const { rowsComputed, rowsReused, tokens } of usages) {
    prompt += rowsReused + Math.max(0, rowsComputed - Math.max(0, tokens - 1)); // decoded rows are computed, too
    cached += rowsReused;
    completion += tokens;
  }
  return usageOf(prompt, cached, completion);
}
