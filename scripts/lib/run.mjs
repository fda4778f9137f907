// SPDX-License-Identifier: Apache-2.0
// How the scripts speak and start programs: one short line per step, the output of a step only when it failed,
// and a Stop where the reader has to do something.
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, unlinkSync, writeSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

/** An end with one clear sentence for the reader instead of a stack trace. */
export class Stop extends Error {
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

export function say(message) {
  process.stderr.write(`baton: ${message}\n`);
}

/** Runs `main` and turns a Stop into its sentence and exit code. */
export async function entry(main) {
  try {
    process.exitCode = (await main()) ?? process.exitCode ?? 0;
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    say(error.message);
    process.exitCode = error.exitCode;
  }
}

/** A program that writes to our own terminal. Returns its exit code. */
export function passThrough(command, args, options = {}) {
  const done = spawnSync(command, args, { cwd: root, stdio: "inherit", ...options });
  if (done.error) throw new Stop(`cannot start ${command}: ${done.error.message}`);
  if (done.signal) throw new Stop(`${command} was ended by ${done.signal}`);
  return done.status ?? 1;
}

/** A program whose output matters only when it fails. Returns its stdout. */
export function quietly(command, args, options = {}) {
  const done = spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 256 << 20,
    stdio: ["ignore", "pipe", "pipe"],
    ...options,
  });
  if (done.error) throw new Stop(`cannot start ${command}: ${done.error.message}`);
  if (done.status === 0) return done.stdout;
  process.stderr.write(done.stdout + done.stderr);
  const how = done.signal ? `was ended by ${done.signal}` : `failed with exit code ${done.status}`;
  throw new Stop(`${[command, ...args].join(" ")} ${how}; its output is above`);
}

/** Baton's folder in the user's cache, as src/model/source.ts has it. */
export function userCache(environment = process.env) {
  const cache = environment.XDG_CACHE_HOME || path.join(os.homedir(), ".cache");
  return environment.BATON_CACHE || path.join(cache, "baton");
}

/** npm as it was started, so that `npm test` under another npm stays with that one. */
export function npmCommand() {
  const file = process.env.npm_execpath;
  return file?.endsWith(".js") ? [process.execPath, file] : ["npm"];
}

/** Packs a package's folder into a tarball in `target`. Bytes of the tarball, and of what it installs. */
export function npmPack(folder, target) {
  const [npm, ...args] = npmCommand();
  const output = quietly(npm, [...args, "pack", "--json", "--pack-destination", target, folder]);
  const [{ filename, size, unpackedSize }] = JSON.parse(output.slice(output.indexOf("[")));
  const tarball = path.join(target, filename.replace(/^@/, "").replace("/", "-"));
  return { tarball, packedBytes: size, unpackedBytes: unpackedSize };
}

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

function takeLock(file) {
  try {
    const descriptor = openSync(file, "wx");
    writeSync(descriptor, String(process.pid));
    closeSync(descriptor);
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
  }
  try {
    const owner = Number(readFileSync(file, "utf8"));
    if (owner > 0 && !alive(owner)) unlinkSync(file);
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
  return false;
}

/** Two builds in one folder spoil each other, so the second one waits. A dead owner's lock is taken away. */
export async function withLock(file, work) {
  mkdirSync(path.dirname(file), { recursive: true });
  for (let tries = 0; !takeLock(file); tries++) {
    if (tries === 20) say(`waiting for another build in this folder (${path.relative(root, file)})`);
    await sleep(100);
  }
  try {
    return await work();
  } finally {
    unlinkSync(file);
  }
}
