// SPDX-License-Identifier: Apache-2.0
// Snapshots of cache handles: what is restored goes on bit for bit as the handle that never left, and nothing that is
// damaged, cut off or of something else becomes rows that somebody reads.

import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { passages, settled } from "../chain/tiny-model.js";
import { bytesOf, failure, following, free, ids, load, rowsBefore, written } from "./snapshot-support.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "baton-snapshot-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.each(["f32", "f16", "bf16", "int8"] as const)("KV in %s", (kvType) => {
  test("a restored handle goes on bit for bit, in this process and in another pool", async () => {
    const model = await load({ kvType });
    const original = await written(model);
    const path = join(folder, `round-trip-${kvType}`);
    const report = await original.snapshot(path);
    expect(report.bytes).toBe((await readFile(path)).length);
    expect(report.rows).toBe(original.rows - 1);
    const expected = await following(original);
    for (const home of [model, await load({ kvType })]) {
      const before = home.stats().usedBytes;
      const restored = await home.cache.restore(path);
      expect(restored.restored).toEqual({ rows: original.rows, rowsLeftOut: 0, fault: null });
      expect(restored.rows).toBe(original.rows);
      expect(await following(restored)).toEqual(expected);
      expect(home.stats().usedBytes - before).toBe(report.blocks * home.info.blockBytes);
      for (const rows of [original.rows - 1, 85, 76, 75, 40]) {
        using one = original.fork();
        using other = restored.fork();
        one.truncate(rows);
        other.truncate(rows);
        expect(await following(other)).toEqual(await following(one));
      }
      restored.close();
    }
  });
});

describe("streams", () => {
  test("bytes, web streams and Node streams carry the same snapshot", async () => {
    const model = await load();
    const original = await written(model);
    const expected = await following(original);
    const bytes = await bytesOf(original.snapshotStream());
    const through = new PassThrough();
    const writing = original.snapshot(through);
    const fromNode = model.cache.restore(through);
    expect((await writing).bytes).toBe(bytes.length);
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const pouring = original.snapshot(writable);
    const fromWeb = model.cache.restore(readable);
    await pouring;
    const pieces = async function* () {
      for (let at = 0; at < bytes.length; at += 1013) yield bytes.subarray(at, at + 1013);
    };
    const restored = [await fromNode, await fromWeb, await model.cache.restore(bytes)];
    restored.push(await model.cache.restore(pieces()), await model.cache.restore(original.snapshotStream()));
    for (const handle of restored) expect(await following(handle)).toEqual(expected);
    for (const handle of [...restored, original]) handle.close();
    await settled(model);
    expect(model.stats().usedBytes).toBe(0);
  });

  test("a stream that ends early, throws, or never comes leaves nothing", async () => {
    const model = await load();
    const original = await written(model);
    const bytes = await bytesOf(original.snapshotStream());
    const used = model.stats().usedBytes;
    for (const length of [0, 10, 63, 64, 500, 5000, bytes.length - 1]) {
      const error = await failure(model.cache.restore(bytes.subarray(0, length)));
      expect(error.code).toBe("SNAPSHOT_INVALID");
    }
    const longer = await failure(model.cache.restore(Buffer.concat([bytes, Buffer.from("x")])));
    expect(longer.message).toContain("bytes follow");
    const broken = async function* () {
      yield bytes.subarray(0, bytes.length / 2);
      throw new Error("the line is down");
    };
    await expect(model.cache.restore(broken())).rejects.toThrow("the line is down");
    const stop = new AbortController();
    const waiting = model.cache.restore(new ReadableStream(), { signal: stop.signal });
    stop.abort(new Error("no patience"));
    await expect(waiting).rejects.toThrow("no patience");
    const text = async function* () {
      yield "BATONSN1" as unknown as Uint8Array;
    };
    expect((await failure(model.cache.restore(text()))).code).toBe("OPTION_INVALID");
    const dropped = original.snapshotStream();
    await dropped.getReader().cancel();
    expect(model.stats().usedBytes).toBe(used);
  });
});

describe("damage", () => {
  test("a flipped bit anywhere is told, and where; the trunk before it can be had", async () => {
    const model = await load();
    const original = await written(model);
    const bytes = await bytesOf(original.snapshotStream());
    const { blockBytes, blockRows } = model.info;
    const { blocks } = await original.snapshot(new PassThrough().resume());
    const first = bytes.length - blocks * blockBytes;
    original.close();
    const used = model.stats().usedBytes;
    for (let at = 0; at < bytes.length; at += 397) {
      const damaged = Uint8Array.from(bytes);
      damaged[at] = (damaged[at] ?? 0) ^ 4;
      const error = await failure(model.cache.restore(damaged));
      expect(error.code).toBe("SNAPSHOT_INVALID");
      if (at < first) continue;
      const block = Math.floor((at - first) / blockBytes);
      expect(error.facts).toMatchObject({ part: "block", block });
      if (block === 0) {
        expect((await failure(model.cache.restore(damaged, { partial: true }))).code).toBe(
          "SNAPSHOT_INVALID",
        );
        continue;
      }
      const part = await model.cache.restore(damaged, { partial: true });
      expect(part.rows).toBe(rowsBefore(block, blockRows));
      expect(part.restored?.rowsLeftOut).toBeGreaterThan(0);
      expect(part.restored?.fault).toContain(`block ${block}`);
      expect((await following(part)).tokens).toHaveLength(12);
      part.close();
    }
    expect(model.stats().usedBytes).toBe(used);
  });

  test("what is left of the trunk is what was computed", async () => {
    const model = await load();
    const original = model.cache.open();
    await original.append(ids(100, 5));
    const path = join(folder, "trunk");
    const { bytes } = await original.snapshot(path);
    const content = await readFile(path);
    await writeFile(path, content.subarray(0, bytes - 3 * model.info.blockBytes - 1));
    expect((await failure(model.cache.restore(path))).facts).toMatchObject({ path, block: 3 });
    const trunk = await model.cache.restore(path, { partial: true });
    expect(trunk.restored).toMatchObject({ rows: 48, rowsLeftOut: 52 });
    original.truncate(48);
    expect(await following(trunk)).toEqual(await following(original));
    await trunk.append(ids(5, 1));
    await original.append(ids(5, 1));
    expect(await following(trunk)).toEqual(await following(original));
  });
});

describe("life", () => {
  test("two restores of one file are two handles; closing one frees its blocks", async () => {
    const model = await load({ indexBytes: 4 << 20 });
    const original = await written(model);
    const expected = await following(original);
    const path = join(folder, "twice");
    const { blocks } = await original.snapshot(path, { durable: true });
    original.close();
    await settled(model);
    const [one, other] = await Promise.all([model.cache.restore(path), model.cache.restore(path)]);
    expect(model.stats().blocksUsed).toBe(2 * blocks);
    one.close();
    expect(model.stats().blocksUsed).toBe(blocks);
    expect(await following(other)).toEqual(expected);
    other.close();
    expect(model.stats().usedBytes).toBe(0);
  });

  test("nobody who computes the same rows finds restored ones, nor what was computed behind them", async () => {
    const model = await load({ indexBytes: 4 << 20 });
    const original = model.cache.open();
    await original.append(ids(64, 9));
    const bytes = await bytesOf(original.snapshotStream());
    const honest = await load({ indexBytes: 4 << 20 });
    const restored = await honest.cache.restore(bytes);
    await restored.append(ids(48, 2));
    const fresh = honest.cache.open();
    expect((await fresh.append(ids(64, 9))).rowsReused).toBe(0);
    expect((await fresh.append(ids(48, 2))).rowsReused).toBe(0);
    const again = await honest.cache.restore(bytes);
    expect((await again.append(ids(48, 2))).rowsReused).toBeGreaterThan(0);
    const tenant = await honest.cache.restore(bytes, { salt: "another" });
    expect((await tenant.append(ids(48, 2))).rowsReused).toBe(0);
  });

  test("a snapshot has the rows of the call, whatever the handle does then", async () => {
    const model = await load();
    const handle = await written(model);
    const expected = await following(handle);
    const path = join(folder, "moment");
    const saving = handle.snapshot(path);
    const stream = handle.snapshotStream();
    handle.truncate(10);
    await handle.append(passages);
    handle.close();
    await saving;
    for (const from of [path, await bytesOf(stream)]) {
      using restored = await model.cache.restore(from);
      expect(await following(restored)).toEqual(expected);
    }
    await settled(model);
    expect(model.stats().usedBytes).toBe(0);
  });

  test("an empty handle, and one of a single row", async () => {
    const model = await load();
    const handle = model.cache.open();
    expect((await model.cache.restore(await bytesOf(handle.snapshotStream()))).rows).toBe(0);
    await handle.append([5]);
    const restored = await model.cache.restore(await bytesOf(handle.snapshotStream()));
    expect(await following(restored)).toEqual(await following(handle));
  });

  test("what does not fit takes nothing and says so", async () => {
    const home = await load();
    const { blocks } = await (await written(home)).snapshot(join(folder, "large"));
    const bytes = await readFile(join(folder, "large"));
    const model = await load({ cacheBytes: (blocks - 1) * home.info.blockBytes });
    const { freeBytes } = model.stats();
    const error = await failure(model.cache.restore(bytes));
    expect(error.code).toBe("CACHE_BUDGET");
    expect(error.facts).toMatchObject({ free: freeBytes });
    expect(error.facts.needed).toBeGreaterThan(freeBytes);
    expect(model.stats().usedBytes).toBe(0);
  });

  test("a busy handle, a closed one and a closed model", async () => {
    const model = await load();
    const handle = await written(model);
    const path = join(folder, "closed");
    await handle.snapshot(path);
    const generation = handle.generate(free);
    expect((await failure(handle.snapshot(path))).code).toBe("OPTION_INVALID");
    await generation.result;
    handle.close();
    expect((await failure(handle.snapshot(path))).code).toBe("CLOSED");
    const other = await written(model);
    await model.close();
    for (const work of [other.snapshot(path), model.cache.restore(path)])
      expect((await failure(work)).code).toBe("CLOSED");
  });

  test("an abort rejects with the signal's reason and leaves nothing", async () => {
    const model = await load();
    const handle = await written(model);
    const path = join(folder, "aborted");
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(handle.snapshot(path, { signal })).rejects.toThrow("enough");
    for (let turn = 0; turn < 20; turn++) {
      const stop = new AbortController();
      const saving = handle.snapshot(path, { signal: stop.signal }).catch((error: unknown) => error);
      await new Promise((resolve) => setTimeout(resolve, turn / 10));
      stop.abort(new Error("enough"));
      await saving;
      const restoring = model.cache.restore(path, { signal: stop.signal });
      await expect(restoring).rejects.toThrow("enough");
    }
    const names = await readdir(folder);
    expect(names.filter((name) => name.includes("incomplete"))).toEqual([]);
    await handle.snapshot(path);
    (await model.cache.restore(path)).close();
    const used = model.stats().usedBytes;
    handle.close();
    expect(used).toBeGreaterThan(0);
    await settled(model);
    expect(model.stats().usedBytes).toBe(0);
  });

  test("places that are none", async () => {
    const model = await load();
    const handle = await written(model);
    for (const place of ["", "a\0b", 7, null, {}])
      expect((await failure(handle.snapshot(place as never))).code).toBe("OPTION_INVALID");
    for (const place of ["", 7, undefined, {}, [1]])
      expect((await failure(model.cache.restore(place as never))).code).toBe("OPTION_INVALID");
    expect((await failure(handle.snapshot(join(folder, "no", "folder")))).code).toBe("IO");
    expect((await failure(model.cache.restore(join(folder, "none")))).code).toBe("IO");
    expect((await failure(model.cache.restore(folder))).code).toBe("IO");
  });
});
