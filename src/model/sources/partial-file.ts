// SPDX-License-Identifier: Apache-2.0
// A file under way. It has a name of its own until it is complete: size and SHA-256 are checked while it is written,
// then fsync, then rename. So a file under its final name is whole, whatever happened to the process or the machine.
//
// What an interrupted fetch leaves (`<name>.baton-incomplete`) is claimed by rename and continued, which only one
// process can win; the bytes are hashed again, so a damaged remainder cannot pass.

import type { Hash } from "node:crypto";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { mkdir, open, readdir, rename, rm, statfs } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { IoError } from "../../errors.js";
import { processIsAlive } from "./lock.js";

const suffix = ".baton-incomplete";

export interface Expected {
  bytes?: number | undefined;
  /** Hex. */
  sha256?: string | undefined;
}

/** The bytes are not those that were promised; a retry from the start may help. */
export class WrongBytes extends Error {}

async function freeBytes(folder: string): Promise<number | null> {
  const stats = await statfs(folder).catch(() => null);
  return stats === null ? null : Number(stats.bavail) * Number(stats.bsize);
}

const fullCodes: readonly unknown[] = ["ENOSPC", "EDQUOT", "EFBIG"];

/** The typed form of a file system error; a full disk says what is needed and what is free. */
export async function ioError(error: unknown, path: string, needed: number | undefined): Promise<IoError> {
  if (IoError.isInstance(error)) return error;
  const { code = "", message = String(error) } = error as NodeJS.ErrnoException;
  if (!fullCodes.includes(code)) {
    return new IoError(`${path} cannot be written: ${message}. Check the folder and its permissions.`, {
      facts: { path, code },
      cause: error,
    });
  }
  return diskFull(path, needed, await freeBytes(dirname(path)), error);
}

function diskFull(path: string, needed: number | undefined, free: number | null, cause?: unknown): IoError {
  const need = needed === undefined ? "more room" : `${needed} bytes`;
  const have = free === null ? "" : ` and ${free} are free`;
  return new IoError(
    `The disk is full: ${path} needs ${need}${have}. Free some space, or set BATON_CACHE (HF_HUB_CACHE for files ` +
      "of the Hub) to a folder on another disk.",
    {
      facts: {
        path,
        code: "ENOSPC",
        ...(needed === undefined ? {} : { needed }),
        ...(free === null ? {} : { free }),
      },
      cause,
    },
  );
}

/** Throws IoError if the folder's disk has less than `needed` bytes left. */
export async function requireRoom(path: string, needed: number): Promise<void> {
  const free = await freeBytes(dirname(path));
  if (free !== null && free < needed) throw diskFull(path, needed, free);
}

/** Renames what an earlier process left to `own`; false if there is nothing. Call under the file's lock. */
async function claimLeftover(path: string, own: string): Promise<boolean> {
  const folder = dirname(path);
  const prefix = `${basename(path)}.`;
  let claimed = false;
  for (const name of await readdir(folder)) {
    if (!name.startsWith(prefix) || !name.endsWith(suffix)) continue;
    const pid = Number(name.slice(prefix.length, -suffix.length) || Number.NaN);
    if (Number.isInteger(pid) && processIsAlive(pid)) continue;
    const left = join(folder, name);
    if (claimed) await rm(left, { force: true });
    else
      claimed = await rename(left, own).then(
        () => true,
        () => false,
      );
  }
  const kept = join(folder, basename(path) + suffix);
  if (!claimed)
    claimed = await rename(kept, own).then(
      () => true,
      () => false,
    );
  return claimed;
}

export class PartialFile {
  /** Bytes written so far, those continued from included. */
  bytes = 0;
  private readonly path: string;
  private readonly own: string;
  private readonly expected: Expected;
  private handle: FileHandle;
  private hash: Hash = createHash("sha256");

  private constructor(path: string, own: string, expected: Expected, handle: FileHandle) {
    this.path = path;
    this.own = own;
    this.expected = expected;
    this.handle = handle;
  }

  /** Starts or continues `path`. Throws IoError, at once if the disk cannot hold the rest. */
  static async open(path: string, expected: Expected): Promise<PartialFile> {
    const own = `${path}.${process.pid}${suffix}`;
    try {
      await mkdir(dirname(path), { recursive: true });
      const resumed = await claimLeftover(path, own);
      const file = new PartialFile(path, own, expected, await open(own, resumed ? "r+" : "w"));
      try {
        if (resumed) await file.readBack();
        if (expected.bytes !== undefined) await requireRoom(path, expected.bytes - file.bytes);
      } catch (error) {
        await file.keep();
        throw error;
      }
      return file;
    } catch (error) {
      throw await ioError(error, path, expected.bytes);
    }
  }

  private async readBack(): Promise<void> {
    for await (const chunk of createReadStream(this.own)) {
      this.hash.update(chunk as Buffer);
      this.bytes += (chunk as Buffer).length;
    }
    if (this.expected.bytes !== undefined && this.bytes > this.expected.bytes) await this.restart();
  }

  /** Throws away what is written and begins again. */
  async restart(): Promise<void> {
    await this.handle.truncate(0);
    this.hash = createHash("sha256");
    this.bytes = 0;
  }

  /** Throws IoError; a full disk leaves nothing behind. */
  async write(chunk: Uint8Array): Promise<void> {
    const { bytes: most } = this.expected;
    if (most !== undefined && this.bytes + chunk.length > most) {
      throw new WrongBytes(`more than the ${most} bytes that were promised`);
    }
    try {
      for (let done = 0; done < chunk.length; ) {
        const { bytesWritten } = await this.handle.write(chunk, done, chunk.length - done, this.bytes + done);
        done += bytesWritten;
      }
    } catch (error) {
      const typed = await ioError(error, this.path, most);
      await this.discard();
      throw typed;
    }
    this.hash.update(chunk);
    this.bytes += chunk.length;
  }

  /** Checks, syncs and gives the file its name. Throws WrongBytes with the file still open. Returns the SHA-256. */
  async finish(): Promise<string> {
    const { bytes, sha256 } = this.expected;
    if (bytes !== undefined && bytes !== this.bytes) {
      throw new WrongBytes(`${this.bytes} bytes instead of ${bytes}`);
    }
    const digest = this.hash.copy().digest("hex");
    if (sha256 !== undefined && sha256 !== digest) {
      throw new WrongBytes(`SHA-256 is ${digest} instead of ${sha256}`);
    }
    try {
      await this.handle.sync();
      await this.handle.close();
      await rename(this.own, this.path);
      await syncFolder(dirname(this.path));
    } catch (error) {
      throw await ioError(error, this.path, bytes);
    }
    return digest;
  }

  /** Closes and leaves what is there for the next attempt. */
  async keep(): Promise<void> {
    await this.handle.close().catch(() => undefined);
    if (this.bytes === 0) await rm(this.own, { force: true });
    else await rename(this.own, this.path + suffix).catch(() => undefined);
  }

  async discard(): Promise<void> {
    await this.handle.close().catch(() => undefined);
    await rm(this.own, { force: true });
  }
}

/** Makes a rename last. Some systems cannot open folders; then the rename is as durable as they make it. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => null);
  if (handle === null) return;
  await handle.sync().catch(() => undefined);
  await handle.close();
}
