// SPDX-License-Identifier: Apache-2.0
// One process at a time per file. The lock is a file made with O_EXCL whose holder touches it; a lock whose process
// is gone (same machine) or that nobody touched for a minute (any machine) is stale and taken over. Should two
// processes ever hold one lock all the same, nothing breaks: each writes a temporary file of its own.

import { randomUUID } from "node:crypto";
import { mkdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const touchEveryMs = 5_000;
const staleAfterMs = 60_000;
const pollEveryMs = 200;
const removalPollMs = 10;

interface Holder {
  id: string;
  pid: number;
  host: string;
}

export function processIsAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives, under another user.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

async function create(path: string, holder: Holder): Promise<boolean> {
  try {
    await writeFile(path, JSON.stringify(holder), { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

const absent = (error: NodeJS.ErrnoException) => {
  if (error.code === "ENOENT") return null;
  throw error;
};

async function isStale(path: string, text: string): Promise<boolean> {
  const touched = await stat(path).catch(absent);
  if (touched === null) return false;
  if (Date.now() - touched.mtimeMs > staleAfterMs) return true;
  try {
    const { pid, host } = JSON.parse(text) as Holder;
    return host === hostname() && Number.isInteger(pid) && !processIsAlive(pid);
  } catch {
    // Half written: its maker is about to finish it, or is dead and it goes stale by time.
    return false;
  }
}

/** Removes the stale lock that holds `text`. One at a time: a second could remove the lock that comes in its place. */
async function removeStale(path: string, text: string, holder: Holder): Promise<void> {
  const removal = `${path}.removal`;
  if (!(await create(removal, holder))) {
    const begun = await stat(removal).catch(absent);
    if (begun !== null && Date.now() - begun.mtimeMs > staleAfterMs) await rm(removal, { force: true });
    await sleep(removalPollMs);
    return;
  }
  try {
    const now = await readFile(path, "utf8").catch(absent);
    if (now === text) await rm(path, { force: true });
  } finally {
    await rm(removal, { force: true });
  }
}

async function release(path: string, holder: Holder): Promise<void> {
  const text = await readFile(path, "utf8").catch(absent);
  if (text === JSON.stringify(holder)) await rm(path, { force: true });
}

/** Runs `work` while holding the lock file `path`; `onWait` is told once if another process holds it. */
export async function withLock<T>(
  path: string,
  signal: AbortSignal | undefined,
  onWait: () => void,
  work: () => Promise<T>,
): Promise<T> {
  const holder: Holder = { id: randomUUID(), pid: process.pid, host: hostname() };
  await mkdir(dirname(path), { recursive: true });
  for (let waited = false; !(await create(path, holder)); ) {
    const text = await readFile(path, "utf8").catch(absent);
    if (text === null) continue;
    if (await isStale(path, text)) {
      await removeStale(path, text, holder);
      continue;
    }
    if (!waited) onWait();
    waited = true;
    signal?.throwIfAborted();
    await sleep(pollEveryMs);
  }
  const heart = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, touchEveryMs);
  heart.unref();
  try {
    signal?.throwIfAborted();
    return await work();
  } finally {
    clearInterval(heart);
    await release(path, holder);
  }
}
