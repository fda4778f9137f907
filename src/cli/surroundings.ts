// SPDX-License-Identifier: Apache-2.0
// What a bug report says of the machine beside the engine's own words: system, Node, limits, memory, the models that are here
// and Baton's variables. Nothing here can fail: what cannot be read is null. Paths below the user's folder begin with ~.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { arch, freemem, homedir, release, totalmem } from "node:os";
import { basename, dirname, join } from "node:path";
import { defaultCacheDir } from "../model/source.js";
import { hubCacheDir } from "../model/sources/hub-cache.js";
import { glibcOfReport, packageVersion, platformTag } from "../native/load.js";

export interface FoundModel {
  name: string;
  bytes: number;
}

export interface Surroundings {
  baton: string;
  node: string;
  platform: string;
  os: string;
  /** "glibc 2.36", "musl"; null where there is one only. */
  libc: string | null;
  /** Of the machine, in bytes. */
  memory: { total: number; free: number };
  /** What the container allows; null: no limit. */
  limits: { memoryBytes: number | null; cpus: number | null };
  cache: { folder: string; bytes: number; models: FoundModel[] };
  /** The Hub's own cache, which other programs share: models in it that Baton may read. */
  hubCache: { folder: string; models: FoundModel[] };
  environment: Record<string, string>;
}

function orNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}

const textOf = (path: string) => orNull(() => readFileSync(path, "utf8").trim());

export function tilde(text: string): string {
  const home = homedir();
  return home.length > 1 ? text.replaceAll(home, "~") : text;
}

function osName(): string {
  const name = /^PRETTY_NAME="?([^"\n]+)/m.exec(textOf("/etc/os-release") ?? "")?.[1];
  return [name, `${process.platform} ${release()}`, arch()].filter((one) => one !== undefined).join(", ");
}

function libcName(): string | null {
  if (process.platform !== "linux") return null;
  if (platformTag().endsWith("-musl")) return "musl";
  const version = glibcOfReport();
  return version === undefined ? "unknown" : `glibc ${version}`;
}

/** Folders of this process's control group for a controller, innermost first; of version 2 for "". */
function groupFolders(controller: string): string[] {
  const lines = (textOf("/proc/self/cgroup") ?? "").split("\n").map((line) => line.split(":"));
  const own = lines.find(([, controllers = ""]) => controllers.split(",").includes(controller))?.[2];
  if (own === undefined) return [];
  const root = join("/sys/fs/cgroup", controller);
  const folders: string[] = [];
  for (let path = own; ; path = dirname(path)) {
    folders.push(join(root, path));
    if (path === "/" || path === ".") return folders;
  }
}

/** The narrowest of all groups around. */
function cpuLimit(): number | null {
  const share = (quota: string | undefined, period: string | undefined) => {
    const cpus = Number(quota) / Number(period);
    return Number.isFinite(cpus) && cpus > 0 ? [cpus] : [];
  };
  const limits = [
    ...groupFolders("").flatMap((folder) => {
      const [quota, period] = (textOf(join(folder, "cpu.max")) ?? "").split(" ");
      return share(quota, period);
    }),
    ...groupFolders("cpu").flatMap((folder) =>
      share(textOf(join(folder, "cpu.cfs_quota_us")) ?? "", textOf(join(folder, "cpu.cfs_period_us")) ?? ""),
    ),
  ];
  return limits.length === 0 ? null : Math.min(...limits);
}

/** Node gives what the machine has, or more, where there is no limit. */
function memoryLimit(): number | null {
  const limit = process.constrainedMemory();
  return limit > 0 && limit < totalmem() ? limit : null;
}

interface File {
  path: string;
  bytes: number;
}

/** Bytes of links are those of what they lead to, in `follow`. */
function filesBelow(folder: string, follow: boolean): File[] {
  const entries = orNull(() => readdirSync(folder, { recursive: true, withFileTypes: true })) ?? [];
  return entries.flatMap((entry) => {
    if (entry.isDirectory() || (entry.isSymbolicLink() && !follow)) return [];
    const path = join(entry.parentPath ?? entry.path, entry.name); // `path` is what Node 20 calls `parentPath`
    const bytes = orNull(() => statSync(path).size);
    return bytes === null ? [] : [{ path, bytes }];
  });
}

const isModel = ({ path }: File) => /\.(gguf|safetensors)$/.test(path);
const sumOf = (files: readonly File[]) => files.reduce((sum, { bytes }) => sum + bytes, 0);

function cacheReport(): Surroundings["cache"] {
  const folder = defaultCacheDir();
  const models = filesBelow(join(folder, "models"), true).filter(isModel);
  return {
    folder: tilde(folder),
    bytes: sumOf(filesBelow(folder, false)),
    models: models.map(({ path, bytes }) => ({ name: basename(path), bytes })),
  };
}

function hubCacheReport(): Surroundings["hubCache"] {
  const folder = hubCacheDir(process.env);
  const repositories = (orNull(() => readdirSync(folder)) ?? []).filter((one) => one.startsWith("models--"));
  const models = repositories.flatMap((one) => {
    const files = filesBelow(join(folder, one, "snapshots"), true).filter(isModel);
    const name = `hf:${one.slice("models--".length).replaceAll("--", "/")}`;
    return files.length === 0 ? [] : [{ name, bytes: sumOf(files) }];
  });
  return { folder: tilde(folder), models };
}

/** Keys are nobody's business. */
const secret = /KEY|TOKEN|SECRET|PASSWORD/;

function environment(): Record<string, string> {
  const own = Object.entries(process.env).filter(([name]) => name.startsWith("BATON_"));
  return Object.fromEntries(
    own.map(([name, value = ""]) => [name, secret.test(name) ? "(set, not shown)" : tilde(value)]),
  );
}

export function surroundings(): Surroundings {
  return {
    baton: packageVersion(),
    node: process.version,
    platform: platformTag(),
    os: osName(),
    libc: libcName(),
    memory: { total: totalmem(), free: freemem() },
    limits: { memoryBytes: memoryLimit(), cpus: cpuLimit() },
    cache: cacheReport(),
    hubCache: hubCacheReport(),
    environment: environment(),
  };
}
