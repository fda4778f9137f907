// SPDX-License-Identifier: Apache-2.0
// What tests of constrained outputs share: a model that says nothing sensible by itself, and whether this build has
// grammars at all.

import type { TestContext } from "vitest";
import type { CacheHandle, Model, OutputSchema } from "../../src/index.js";
import { BatonError } from "../../src/index.js";
import { loadNative } from "../../src/native/load.js";

export function needGrammars(context: TestContext): void {
  if (loadNative().doctor().grammars.length > 0) return;
  context.skip("this build has no grammars: there was no cargo, or it had no crates");
}

/** The tiny model's own closers are no tokens of a text; this one is. */
export const closers = ["<|endoftext|>"];

export async function opened(model: Model, text = "The harbour of Marsk"): Promise<CacheHandle> {
  const handle = model.cache.open();
  await handle.append(text);
  return handle;
}

export const wild = { closers, temperature: 1.5, maxTokens: 200 };

export async function generated<const S extends OutputSchema>(model: Model, output: S, seed = 0) {
  using handle = await opened(model);
  return await handle.generate({ ...wild, output, seed }).result;
}

export async function failure(promise: Promise<unknown>): Promise<BatonError> {
  const error = await promise.then(
    (value) => new Error(`nothing failed: ${JSON.stringify(value)}`),
    (caught: unknown) => caught,
  );
  if (BatonError.isInstance(error)) return error;
  throw error;
}
