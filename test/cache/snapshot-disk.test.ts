// SPDX-License-Identifier: Apache-2.0
// Snapshots to a full disk and to a read-only one, for real: a small file system that is mounted. Mounting takes root;
// without it these tests are skipped and say so.

import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { CacheHandle, Model } from "../../src/index.js";
import { IoError } from "../../src/index.js";
import { loadTiny } from "../chain/tiny-model.js";

let disk: string;
let unmounted = "";
let model: Model;
let handle: CacheHandle;

function mount(...options: string[]): string {
  const mounted = spawnSync("mount", [...options, disk], { encoding: "utf8" });
  return mounted.status === 0 ? "" : (mounted.error?.message ?? mounted.stderr.trim());
}

beforeAll(async () => {
  disk = await mkdtemp(join(tmpdir(), "baton-disk-"));
  unmounted = mount("-t", "tmpfs", "-o", "size=256k", "tmpfs");
  model = await loadTiny();
  handle = model.cache.open();
  await handle.append(Array.from({ length: 400 }, (_, i) => (i * 37) % 500));
});
afterAll(async () => {
  await model.close();
  if (unmounted === "") spawnSync("umount", [disk]);
  await rm(disk, { recursive: true, force: true });
});
beforeEach((context) => {
  if (unmounted !== "") context.skip(`a tmpfs cannot be mounted here: ${unmounted}`);
});

async function failure(promise: Promise<unknown>): Promise<IoError> {
  const error = await promise.then(
    () => new Error("nothing was thrown"),
    (caught: unknown) => caught,
  );
  if (IoError.isInstance(error)) return error;
  throw error;
}

test("a full disk: the error says what is needed, and what was there before stays", async () => {
  using small = handle.fork();
  small.truncate(40);
  const path = join(disk, "snapshot");
  await small.snapshot(path);
  const before = await readFile(path);
  await writeFile(join(disk, "filler"), new Uint8Array(64 << 10));
  const error = await failure(handle.snapshot(path));
  expect(error.facts).toMatchObject({ code: "ENOSPC", path });
  expect(error.facts.needed).toBeGreaterThan(400 * (model.info.blockBytes / model.info.blockRows));
  expect(await readdir(disk)).toEqual(["filler", "snapshot"]);
  expect(await readFile(path)).toEqual(before);
  using restored = await model.cache.restore(path);
  expect(restored.rows).toBe(40);
});

test("a read-only disk: an error, and restoring still works", async () => {
  using small = handle.fork();
  small.truncate(40);
  const path = join(disk, "kept");
  await small.snapshot(path);
  expect(mount("-o", "remount,ro")).toBe("");
  try {
    expect((await failure(small.snapshot(path))).message).toContain("cannot be written");
    expect((await failure(small.snapshot(join(disk, "another")))).facts.path).toContain("another");
    using restored = await model.cache.restore(path);
    expect(restored.rows).toBe(40);
  } finally {
    expect(mount("-o", "remount,rw")).toBe("");
  }
});
