// SPDX-License-Identifier: Apache-2.0
// Run with --expose-gc. Handles that nobody closes or releases: prints what is left after the garbage collector.

import { readdirSync, readFileSync } from "node:fs";
import { Segment } from "../../../dist/cache/segment.js";
import { loadModel } from "../../../dist/model/model.js";
import { eventually, generate, greedy, ids, openTiny, pause, tinyPath } from "./tiny.mjs";

const threads = () => readdirSync("/proc/self/task").length;
const mappings = () =>
  readFileSync("/proc/self/maps", "latin1")
    .split("\n")
    .filter((line) => line.includes(".gguf")).length;

/** Collects until `done`: finalisers run a turn of the event loop later. */
async function collected(done) {
  for (let turn = 0; turn < 200 && !done(); turn++) {
    globalThis.gc();
    await pause(5);
  }
  return done();
}

async function forgetSegments(engine) {
  for (let i = 0; i < 20; i++) {
    const segment = new Segment(engine, { kind: "input", start: 0, reads: [] });
    await engine.run({ appends: [segment.appendTokens(ids(40))], logits: "none" });
  }
  return engine.stats().blocksUsed;
}

async function forgetModels() {
  const models = await Promise.all(Array.from({ length: 3 }, () => loadModel(tinyPath, { threads: 2 })));
  for (const { engine } of models) await generate(engine, { maxTokens: 5 });
  return mappings();
}

/** A run that nobody waits for must reach its end although the model is forgotten. */
async function forgetRunning() {
  const engine = await openTiny();
  const segment = engine.createSegment({ kind: "input", start: 0, reads: [] });
  const job = { appends: [{ segment, tokens: ids(20) }], generate: greedy(300), logits: "none" };
  return engine.run(job).then((outcome) => outcome.stats.tokens);
}

const engine = await openTiny();
const used = await forgetSegments(engine);
const segments = await collected(() => engine.stats().segments === 0 && engine.stats().blocksUsed === 0);
const before = { threads: threads(), mappings: mappings() };
const open = await forgetModels();
const models = await collected(() => threads() <= before.threads && mappings() === before.mappings);
const running = forgetRunning();
for (let turn = 0; turn < 20; turn++) {
  globalThis.gc();
  await pause(1);
}
const tokens = await running;
const after = await collected(() => mappings() === before.mappings);
await engine.close();
const closed = await eventually(() => mappings() === 0);
console.log(
  JSON.stringify({ used, segments, opened: open - before.mappings, models, tokens, after, closed }),
);
