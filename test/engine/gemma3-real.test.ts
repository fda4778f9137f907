// SPDX-License-Identifier: Apache-2.0
// The real Gemma 3 270M against transformers, where BATON_TEST_GEMMA3 names the file (fixtures/README.md says which):
// ids of texts, logits and greedy tokens, the last text longer than the window. The model comes under the Gemma terms,
// so it is on no machine that has not been given it.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { loadModel } from "../../src/index.js";
import { loadFacts } from "../helpers/fixtures.js";
import { exact, greedy, plainSegment, run } from "./support.js";

interface Facts {
  sha256: string;
  window: number;
  /** Every how many logits the first step's are kept. */
  every: number;
  prompts: { text: string; ids: number[]; tokens: number[]; smallestGap: number; first: number[] }[];
}

const path = process.env.BATON_TEST_GEMMA3 ?? "";

test("Gemma 3 270M: ids, logits and 32 greedy tokens of five texts", async (context) => {
  if (path === "") context.skip("BATON_TEST_GEMMA3 names no file");
  const { sha256, window, every, prompts } = loadFacts<Facts>("gemma3-greedy");
  expect(createHash("sha256").update(readFileSync(path)).digest("hex")).toBe(sha256);
  const model = await loadModel(path, { ...exact, cacheBytes: 512 << 20, threads: 2, batchInvariant: false });
  const { engine, tokenizer } = model;
  const write = async (ids: readonly number[], options: Parameters<typeof run>[2]) => {
    const segment = engine.createSegment({ ...plainSegment, reads: [] });
    const outcome = await run(engine, [{ segment, content: Int32Array.from(ids) }], options);
    engine.releaseSegment(segment);
    return outcome;
  };
  for (const { text, ids, tokens, first } of prompts) {
    expect([tokenizer.bosId, ...tokenizer.encode(text, { specials: false, atZero: true })]).toEqual(ids);
    const { logits } = await write(ids, { logits: "last" });
    const kept = logits.filter((_, i) => i % every === 0);
    expect(kept.length).toBe(first.length);
    const distance = Math.hypot(...first.map((value, i) => value - (kept[i] as number)));
    expect(distance / Math.hypot(...first)).toBeLessThanOrEqual(1e-4);
    const generated = await write(ids, { logits: "none", generate: greedy(tokens.length) });
    expect(generated.tokens).toEqual(tokens);
  }
  expect(prompts.at(-1)?.ids.length).toBeGreaterThan(window);
  await model.close();
}, 600_000);
