// SPDX-License-Identifier: Apache-2.0
// KV that left the pool and came back is the KV that it was: what reads it has the same logits, bit for bit.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { EngineClient } from "../../src/native/engine-client.js";
import type { KvSpec, SegmentHandle } from "../../src/native/types.js";
import { fresh, ids, openTiny } from "../robustness/support.js";

const rows = 37;
const spec: KvSpec = { kind: "input", start: 0, rows, name: "a" };

async function written(engine: EngineClient, close = true): Promise<SegmentHandle> {
  const segment = engine.createSegment(fresh());
  await engine.run({ appends: [{ segment, tokens: ids(rows) }], logits: "none" });
  if (close) engine.closeSegment(segment);
  return segment;
}

/** Logits of a reader of `segment` behind it. */
async function readerOf(engine: EngineClient, segment: SegmentHandle): Promise<Float32Array> {
  const reader = engine.createSegment({
    kind: "output",
    start: rows,
    reads: [{ segment, rows, shift: 0 }],
  });
  let logits = new Float32Array();
  const onLogits = (_: number, data: Float32Array) => {
    logits = new Float32Array(data);
  };
  await engine.run({ appends: [{ segment: reader, tokens: ids(9, 2) }], logits: "all" }, { onLogits });
  engine.releaseSegment(reader);
  return logits;
}

describe.each(["f32", "f16", "bf16", "int8"] as const)("KV in %s", (kvType) => {
  let engine: EngineClient;
  beforeAll(async () => {
    engine = await openTiny({ kvType });
  });
  afterAll(() => engine.close());

  test("restored = original, in another pool too", async () => {
    const original = await written(engine);
    const bytes = await engine.exportSegment(original);
    expect(bytes.length).toBe(engine.segmentInfo(original).bytes);
    const expected = await readerOf(engine, original);
    const other = await openTiny({ kvType });
    for (const home of [engine, other]) {
      const restored = await home.importSegment(spec, bytes);
      expect(home.segmentInfo(restored)).toMatchObject({ rows, closed: true, bytes: bytes.length });
      expect(await readerOf(home, restored)).toEqual(expected);
      expect(await home.exportSegment(restored)).toEqual(bytes);
      home.releaseSegment(restored);
    }
    await other.close();
    engine.releaseSegment(original);
  });
});

describe("what is not KV of this model", () => {
  let engine: EngineClient;
  beforeAll(async () => {
    engine = await openTiny();
  });
  afterAll(() => engine.close());

  test("a segment that may still grow is not exported", async () => {
    const open = await written(engine, false);
    expect(() => engine.exportSegment(open)).toThrow(expect.objectContaining({ code: "OPTION_INVALID" }));
  });

  test("too few bytes, too many, none; no rows: OPTION_INVALID; a full pool: CACHE_BUDGET; nothing is held", async () => {
    const original = await written(engine);
    const bytes = await engine.exportSegment(original);
    engine.releaseSegment(original);
    const before = engine.stats().usedBytes;
    for (const wrong of [bytes.subarray(1), new Uint8Array(bytes.length + 1), new Uint8Array()]) {
      await expect(engine.importSegment(spec, wrong)).rejects.toMatchObject({ code: "OPTION_INVALID" });
    }
    await expect(engine.importSegment({ ...spec, rows: 0 }, bytes)).rejects.toMatchObject({
      code: "OPTION_INVALID",
    });
    await expect(engine.importSegment({ ...spec, start: 1 << 20 }, bytes)).rejects.toMatchObject({
      code: "CONTEXT_LIMIT",
    });
    const small = await openTiny({ cacheBytes: engine.stats().blockBytes, indexBytes: 0 });
    await expect(small.importSegment(spec, bytes)).rejects.toMatchObject({ code: "CACHE_BUDGET" });
    expect(small.stats().usedBytes).toBe(0);
    await small.close();
    expect(engine.stats().usedBytes).toBe(before);
  });

  test("its name is part of its identity, and no content is found by it", async () => {
    const original = await written(engine);
    const bytes = await engine.exportSegment(original);
    const [one, two] = await Promise.all([
      engine.importSegment(spec, bytes),
      engine.importSegment({ ...spec, name: "b" }, bytes),
    ]);
    const identities = [original, one, two].map((segment) => engine.segmentInfo(segment).identity);
    expect(new Set(identities).size).toBe(3);
    for (const segment of [original, one, two]) engine.releaseSegment(segment);
  });
});
