// SPDX-License-Identifier: Apache-2.0
// `watchNumbers`: the first number of a run that is NaN or infinite ends it with the operation, the layer and the row;
// a chain beside it goes on. Which tensors are found, of which families, is test/native/engine/number_watch_test.cpp.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { defineChain, loadModel, NotFiniteError } from "../../src/index.js";
import { byEnvironment } from "../../src/native/environment.js";
import { failure, fresh, ids, openTiny, settled, tinyPath } from "./support.js";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "baton-numbers-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The tiny model with a NaN as the scale of one block of blk.1.attn_q.weight; its data ends the file's q tensors. */
function poisoned(): string {
  const bytes = Buffer.from(readFileSync(tinyPath));
  const name = "blk.1.attn_q.weight";
  const at = bytes.indexOf(name) + name.length;
  const dimensions = bytes.readUInt32LE(at);
  const offset = Number(bytes.readBigUInt64LE(at + 4 + 8 * dimensions + 4));
  bytes.writeUInt16LE(0x7e00, dataStart(bytes) + offset);
  const path = join(folder, "poisoned.gguf");
  writeFileSync(path, bytes);
  return path;
}

/** Where tensor data begins: behind the info of the last tensor, at the next multiple of 32. */
function dataStart(bytes: Buffer): number {
  let end = 0;
  const names = /(blk\.\d+\.[a-z_]+|output_norm|output|token_embd)\.weight/g;
  const text = bytes.toString("latin1");
  for (const { 0: name, index } of text.matchAll(names)) {
    if (bytes.readBigUInt64LE(index - 8) !== BigInt(name.length)) continue;
    end = Math.max(end, index + name.length + 4 + 8 * bytes.readUInt32LE(index + name.length) + 4 + 8);
  }
  return Math.ceil(end / 32) * 32;
}

describe("watched", () => {
  test("a model with a NaN in a known layer: NOT_FINITE names it, and nothing stays", async () => {
    const model = await loadModel(poisoned(), { threads: 1, cacheBytes: 4 << 20, watchNumbers: true });
    const chain = defineChain(model).input("question").stage("s", { maxTokens: 3 });
    const error = await failure(chain.run({ question: "Is it frozen?" }).result);
    if (!NotFiniteError.isInstance(error)) throw error;
    expect(error.facts).toMatchObject({ op: "linear q", layer: 1, row: 0 });
    expect(error.message).toMatch(/"linear q" of layer 1 computed for row 0/);
    expect(await settled(() => model.stats())).toMatchObject({ blocksUsed: 0, segments: 0 });
    await model.close();
  });

  test("soft rows that are no numbers fail their own job; others have the tokens they have alone", async () => {
    const engine = await openTiny({ watchNumbers: true, indexBytes: 0 });
    const logits = async (rows?: Float32Array) => {
      const segment = engine.createSegment(fresh());
      const append = rows === undefined ? { segment, tokens: ids(30) } : { segment, rows };
      let last: Float32Array = new Float32Array();
      try {
        await engine.run({ appends: [append], logits: "last" }, { onLogits: (_, data) => (last = data) });
        return last;
      } finally {
        engine.releaseSegment(segment);
      }
    };
    const alone = await logits();
    const rows = new Float32Array(64 * 4).fill(0.25);
    rows[64 * 2 + 5] = Number.NaN;
    for (let turn = 0; turn < 10; turn++) {
      const [before, error, behind] = await Promise.all([logits(), failure(logits(rows)), logits()]);
      expect(error).toMatchObject({ code: "NOT_FINITE", facts: { op: "embedding", row: 2 } });
      expect(before).toEqual(alone);
      expect(behind).toEqual(alone);
    }
    expect(await settled(() => engine.stats())).toMatchObject({ blocksUsed: 0, segments: 0 });
    await engine.close();
  });
});

test("unwatched, the same model answers something or nothing: the watch decides, not luck", async () => {
  const options = { threads: 1, cacheBytes: 4 << 20, watchNumbers: false };
  const model = await loadModel(poisoned(), options);
  const chain = defineChain(model).input("question").stage("s", { maxTokens: 3 });
  expect(["closed", "length"]).toContain((await chain.run({ question: "Is it frozen?" }).result).s.reason);
  await model.close();
});

test("the environment turns it on for models on the CPU, and tests have it on", () => {
  const on = { BATON_WATCH_NUMBERS: "1" };
  expect(byEnvironment({}, on)).toEqual({ watchNumbers: true });
  expect(byEnvironment({ device: "auto" }, on)).toEqual({ watchNumbers: true });
  expect(byEnvironment({ device: "cuda:1" }, on)).toEqual({});
  expect(byEnvironment({}, {})).toEqual({});
  expect(process.env.BATON_WATCH_NUMBERS).toBe("1");
});
