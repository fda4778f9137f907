// SPDX-License-Identifier: Apache-2.0
// The lock file: one holder at a time, stale ones are taken over, live ones are waited for.
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import { withLock } from "../../src/model/sources/lock.js";

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "baton-lock-"));
  path = join(folder, "deep", "x.lock");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const nothing = () => {};
const run = <T>(work: () => Promise<T>) => withLock(path, undefined, nothing, work);

/** A process id that was alive a moment ago. */
const deadPid = () => spawnSync(process.execPath, ["--version"]).pid;

async function leave(text: string, ageMs = 0): Promise<void> {
  await run(async () => nothing());
  await writeFile(path, text);
  const then = new Date(Date.now() - ageMs);
  await utimes(path, then, then);
}

it("never lets two in, lets all in, and is gone afterwards", async () => {
  let inside = 0;
  let most = 0;
  const work = async () => {
    most = Math.max(most, ++inside);
    await sleep(5);
    inside--;
  };
  await Promise.all(Array.from({ length: 8 }, () => run(work)));
  expect(most).toBe(1);
  expect(await readdir(join(folder, "deep"))).toEqual([]);
});

it("is given back when the work fails", async () => {
  await expect(run(() => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(await run(async () => 1)).toBe(1);
});

it("of a dead process is taken over at once", async () => {
  await leave(JSON.stringify({ id: "x", pid: deadPid(), host: hostname() }));
  expect(await run(async () => 2)).toBe(2);
});

it("of another machine, or half written, is taken over when nobody has touched it for a minute", async () => {
  for (const text of [JSON.stringify({ id: "x", pid: 1, host: "elsewhere" }), '{"id":']) {
    await leave(text, 61_000);
    expect(await run(async () => 3)).toBe(3);
  }
});

it("of a live process, of another machine or half written is waited for, and an abort ends the wait", async () => {
  const texts = [
    { id: "x", pid: process.pid, host: hostname() },
    { id: "x", pid: deadPid(), host: "elsewhere" },
  ];
  for (const text of [...texts.map((one) => JSON.stringify(one)), ""]) {
    await leave(text);
    const reason = new Error("enough");
    const controller = new AbortController();
    let waits = 0;
    const onWait = () => {
      waits++;
      controller.abort(reason);
    };
    const held = withLock(path, controller.signal, onWait, () => Promise.reject(new Error("was let in")));
    await expect(held).rejects.toBe(reason);
    expect(waits).toBe(1);
    expect(await readFile(path, "utf8")).toBe(text);
    await rm(path);
  }
});

it("that was taken over by another is not removed by its old holder", async () => {
  const other = JSON.stringify({ id: "y", pid: process.pid, host: hostname() });
  await run(async () => {
    await writeFile(path, other);
  });
  expect(await readFile(path, "utf8")).toBe(other);
});

it("taken over by many at once still lets in one at a time", async () => {
  await leave(JSON.stringify({ id: "x", pid: deadPid(), host: hostname() }));
  let inside = 0;
  let most = 0;
  let entered = 0;
  const work = async () => {
    entered++;
    most = Math.max(most, ++inside);
    await sleep(20);
    inside--;
  };
  await Promise.all(Array.from({ length: 6 }, () => run(work)));
  expect(entered).toBe(6);
  expect(most).toBe(1);
});

it("whose removal was begun by a process that died is taken over when that is a minute old", async () => {
  await leave(JSON.stringify({ id: "x", pid: deadPid(), host: hostname() }));
  await writeFile(`${path}.removal`, "");
  const then = new Date(Date.now() - 61_000);
  await utimes(`${path}.removal`, then, then);
  expect(await run(async () => 4)).toBe(4);
  expect(await readdir(join(folder, "deep"))).toEqual([]);
});
