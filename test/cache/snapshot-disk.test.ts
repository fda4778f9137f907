// SPDX-License-Identifier: Apache-2.0
// Snapshots to a full disk and to a read-only one, for real: a small file system that is mounted. Mounting takes root;
// without it these tests are skipped and say so.

import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { CacheHandle, Model } from "../../src/index.js";
import { loadTiny } from "../chain/tiny-model.js";
import { ioFailure, smallDisk } from "../helpers/small-disk.js";

const disk = smallDisk("256k");
let model: Model;
let handle: CacheHandle;

beforeAll(async () => {
  model = await loadTiny();
  handle = model.cache.open();
  await handle.append(Array.from({ length: 400 }, (_, i) => (i * 37) % 500));
});
afterAll(() => model.close());

test("a full disk: the error says what is needed, and what was there before stays", async () => {
  using small = handle.fork();
  small.truncate(40);
  const path = join(disk.path, "snapshot");
  await small.snapshot(path);
  const before = await readFile(path);
  await writeFile(join(disk.path, "filler"), new Uint8Array(64 << 10));
  const error = await ioFailure(handle.snapshot(path));
  expect(error.facts).toMatchObject({ code: "ENOSPC", path });
  expect(error.facts.needed).toBeGreaterThan(400 * (model.info.blockBytes / model.info.blockRows));
  expect(await readdir(disk.path)).toEqual(["filler", "snapshot"]);
  expect(await readFile(path)).toEqual(before);
  using restored = await model.cache.restore(path);
  expect(restored.rows).toBe(40);
});

test("a read-only disk: an error, and restoring still works", async () => {
  using small = handle.fork();
  small.truncate(40);
  const path = join(disk.path, "kept");
  await small.snapshot(path);
  expect(disk.remount("ro")).toBe(true);
  try {
    expect((await ioFailure(small.snapshot(path))).message).toContain("cannot be written");
    expect((await ioFailure(small.snapshot(join(disk.path, "another")))).facts.path).toContain("another");
    using restored = await model.cache.restore(path);
    expect(restored.rows).toBe(40);
  } finally {
    expect(disk.remount("rw")).toBe(true);
  }
});
