// SPDX-License-Identifier: Apache-2.0
// The small random model that chain tests run on. It writes nonsense at full length, which is what tests of rows,
// bytes and bits need.

import type { LoadOptions, Model } from "../../src/index.js";
import { loadModel } from "../../src/index.js";
import { fixturePath } from "../helpers/fixtures.js";

export const tinyPath = fixturePath("tiny-llama/tiny-q8_0.gguf");

/** Without content index: rows counted here are those of a cold cache, whatever ran before. */
export function loadTiny(options: LoadOptions = {}): Promise<Model> {
  const fixed = { threads: 1, batchInvariant: true, cacheBytes: 8 << 20, indexBytes: 0 };
  return loadModel(tinyPath, { ...fixed, ...options });
}

export const passages =
  "The harbour of Marsk freezes for eleven weeks a year. The lighthouse on Ferry Rock was moved inland on rails.";
export const question = "How long does the harbour freeze?";

/** Rows of a text tokenised by itself. */
export function rowsOf(model: Model, text: string, specials = false): number {
  return model.tokenizer.encode(text, { specials }).length;
}

/** Waits for a condition, for a second at most; the caller asserts it. The addon frees blocks on its own thread. */
export async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 200 && !condition(); turn++)
    await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Waits until the pool is empty. */
export async function settled(model: Model): Promise<void> {
  await until(() => model.stats().usedBytes === 0 && model.stats().segments === 0);
}
