// SPDX-License-Identifier: Apache-2.0
// Files that are whole or not there: written beside their name, brought to the disk, then renamed. Whatever happens to
// the process or the machine, the name stands for the old content or for the new one.

import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { IoError } from "../errors.js";
import { processIsAlive } from "../model/sources/lock.js";

const suffix = ".baton-incomplete";
const fullCodes: readonly unknown[] = ["ENOSPC", "EDQUOT", "EFBIG"];

function writeError(cause: unknown, path: string, bytes: number): IoError {
  const { code = "", message = String(cause) } = cause as NodeJS.ErrnoException;
  if (!fullCodes.includes(code)) {
    return new IoError(`${path} cannot be written: ${message}. Check the folder and its permissions.`, {
      facts: { path, code },
      cause,
    });
  }
  return new IoError(
    `The disk is full: ${path} needs ${bytes} bytes (${code}). Free some space, or name a path on another disk.`,
    { facts: { path, code, needed: bytes }, cause },
  );
}

/** The rename lasts only once the folder is on the disk; not every system lets folders be opened for that. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => null);
  await handle?.sync().catch(() => {});
  await handle?.close();
}

const incomplete = (path: string): string => `${path}.${process.pid}${suffix}`;

/** Brings the bytes to the disk beside their name. Throws IoError, and leaves nothing then. */
async function stage(path: string, bytes: Uint8Array): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    const handle = await open(incomplete(path), "w");
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (cause) {
    await discard(path);
    throw writeError(cause, path, bytes.length);
  }
}

const discard = (path: string): Promise<void> => rm(incomplete(path), { force: true }).catch(() => {});

async function publish(path: string): Promise<void> {
  try {
    await rename(incomplete(path), path);
  } catch (cause) {
    await discard(path);
    throw writeError(cause, path, 0);
  }
}

/** Throws IoError if nothing can be written beside this name; makes its folder. Known before the work, not after it. */
export async function checkWritable(path: string): Promise<void> {
  await stage(path, new Uint8Array());
  await discard(path);
}

/** Writes the file, whole or not at all, and its folder if there is none. Throws IoError; what was there stays then. */
export async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  await stage(path, bytes);
  await publish(path);
  await syncFolder(dirname(path));
}

/**
 * Writes files that belong together into a folder: nothing is touched before all of them are on the disk, and the last
 * one is absent while the others change, so that whoever is killed leaves no files of two writes. Throws IoError.
 */
export async function writeTogether(folder: string, files: ReadonlyMap<string, Uint8Array>): Promise<void> {
  const paths = [...files.keys()].map((name) => join(folder, name));
  for (const path of paths) await removeLeftovers(path);
  try {
    for (const [name, bytes] of files) await stage(join(folder, name), bytes);
    const last = paths.at(-1);
    if (last !== undefined) await rm(last, { force: true });
    for (const path of paths) await publish(path);
  } catch (error) {
    for (const path of paths) await discard(path);
    throw IoError.isInstance(error) ? error : writeError(error, folder, 0);
  }
  await syncFolder(folder);
}

/** Takes away what killed processes have left of this file. */
export async function removeLeftovers(path: string): Promise<void> {
  const prefix = `${basename(path)}.`;
  const names = await readdir(dirname(path)).catch(() => []);
  for (const name of names) {
    if (!name.startsWith(prefix) || !name.endsWith(suffix)) continue;
    const pid = Number(name.slice(prefix.length, -suffix.length));
    if (Number.isInteger(pid) && !processIsAlive(pid)) await rm(join(dirname(path), name), { force: true });
  }
}

const abandonedAfterMs = 3_600_000;

/**
 * Takes away what killed processes have left in a folder that several machines may write to: theirs are not told by
 * their ids, but no write takes an hour.
 */
export async function removeAbandoned(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter((one) => one.endsWith(suffix))) {
    const path = join(folder, name);
    const about = await stat(path).catch(() => null);
    if (about !== null && Date.now() - about.mtimeMs > abandonedAfterMs)
      await rm(path, { force: true }).catch(() => {});
  }
}
