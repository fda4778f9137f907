// SPDX-License-Identifier: Apache-2.0
// A file system of some kilobytes, for real. Mounting takes root; without it the tests of the file are skipped and say so.
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach } from "vitest";
import { IoError } from "../../src/errors.js";

export interface SmallDisk {
  /** There from `beforeAll` on. */
  path: string;
  /** Mounts it again, otherwise; false: that failed. */
  remount(options: string): boolean;
  /** Names of all files. */
  files(): Promise<string[]>;
}

/** The IoError that `promise` is rejected with; anything else is thrown. */
export async function ioFailure(promise: Promise<unknown>): Promise<IoError> {
  const error = await promise.then(
    () => new Error("nothing was thrown"),
    (caught: unknown) => caught,
  );
  if (IoError.isInstance(error)) return error;
  throw error;
}

/** For all tests of the file that calls it. `size` as mount takes it: "256k". */
export function smallDisk(size: string): SmallDisk {
  let unmounted = "";
  const mount = (...options: string[]) => {
    const mounted = spawnSync("mount", [...options, disk.path], { encoding: "utf8" });
    return mounted.status === 0 ? "" : (mounted.error?.message ?? mounted.stderr.trim());
  };
  const disk: SmallDisk = {
    path: "",
    remount: (options) => mount("-o", `remount,${options}`) === "",
    files: async () => {
      const entries = await readdir(disk.path, { recursive: true, withFileTypes: true });
      return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
    },
  };
  beforeAll(async () => {
    disk.path = await mkdtemp(join(tmpdir(), "baton-disk-"));
    unmounted = mount("-t", "tmpfs", "-o", `size=${size}`, "tmpfs");
  });
  afterAll(async () => {
    if (unmounted === "") spawnSync("umount", [disk.path]);
    await rm(disk.path, { recursive: true, force: true });
  });
  beforeEach((context) => {
    if (unmounted !== "") context.skip(`a tmpfs cannot be mounted here: ${unmounted}`);
  });
  return disk;
}
