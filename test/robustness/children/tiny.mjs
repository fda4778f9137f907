// SPDX-License-Identifier: Apache-2.0
// The tiny model in a child process, through the compiled package.

import { fileURLToPath } from "node:url";
import { EngineClient } from "../../../dist/native/engine-client.js";

export const tinyPath = fileURLToPath(new URL("../../fixtures/tiny-llama/tiny-q8_0.gguf", import.meta.url));

export const tinyOptions = {
  threads: 2,
  cacheBytes: 8 << 20,
  indexBytes: 2 << 20,
  kvType: "f16",
  activations: "int8",
  batchInvariant: true,
  maxBatchRows: 64,
  drafting: "auto",
};

export const openTiny = (options = {}) => EngineClient.open(tinyPath, "tiny", { ...tinyOptions, ...options });

export const greedy = (maxTokens) => ({
  sampler: { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 1 },
  closers: new Int32Array(),
  stops: [],
  maxTokens,
});

export const ids = (count) => Int32Array.from({ length: count }, (_, i) => (i * 37 + 101) % 512);

/** Generates `maxTokens` tokens after `rows` rows; resolves with the ids. */
export async function generate(engine, { rows = 20, maxTokens = 50, onTokens } = {}) {
  const segment = engine.createSegment({ kind: "input", start: 0, reads: [] });
  const tokens = [];
  await engine.run(
    { appends: [{ segment, tokens: ids(rows) }], generate: greedy(maxTokens), logits: "none" },
    {
      onTokens: (more) => {
        tokens.push(...more);
        onTokens?.(more);
      },
    },
  );
  engine.releaseSegment(segment);
  return tokens;
}

/** Never ends by itself: one generation after the other. */
export async function generateForever(engine, onTokens) {
  for (;;) await generate(engine, { rows: 8, maxTokens: 400, onTokens });
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function eventually(done) {
  for (let turn = 0; turn < 1000 && !done(); turn++) await pause(5);
  return done();
}
