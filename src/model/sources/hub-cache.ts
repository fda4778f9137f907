// SPDX-License-Identifier: Apache-2.0
// The standard cache of the Hugging Face Hub, shared with Python and other tools: content in blobs/<etag>, one
// snapshot folder per commit with links into blobs, refs/<revision> naming the commit.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import {
  copyFile,
  mkdir,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { pipeline } from "node:stream/promises";
import type { HubFile } from "../catalog.js";
import type { Found, SourceContext, Wanted } from "./contract.js";

type Environment = SourceContext["env"];

const isCommit = (revision: string) => /^[0-9a-f]{40}$/.test(revision);

/** $HF_HOME, else huggingface in the user's cache folder. */
export function hubHome(env: Environment): string {
  return env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface");
}

/** $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub. */
export function hubCacheDir(env: Environment): string {
  return env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(hubHome(env), "hub");
}

export class HubCache {
  /** models--organisation--repository */
  private readonly folder: string;
  private readonly locks: string;
  private readonly wanted: HubFile;

  constructor(env: Environment, wanted: HubFile) {
    const root = hubCacheDir(env);
    const name = `models--${wanted.repo.replaceAll("/", "--")}`;
    this.folder = join(root, name);
    this.locks = join(root, ".locks", name);
    this.wanted = wanted;
  }

  blobPath(etag: string): string {
    return join(this.folder, "blobs", etag);
  }

  lockPath(etag: string): string {
    return join(this.locks, `${etag}.baton-lock`);
  }

  private pointerPath(commit: string): string {
    return join(this.folder, "snapshots", commit, ...this.wanted.file.split("/"));
  }

  /** The file of the revision last fetched; with a known SHA-256, of any revision. */
  async lookup({ bytes, sha256 }: Wanted): Promise<Found | null> {
    const { revision } = this.wanted;
    const ref = isCommit(revision)
      ? revision
      : await readFile(join(this.folder, "refs", revision), "utf8").catch(() => "");
    const commits = ref.trim() === "" ? [] : [ref.trim()];
    if (sha256 !== undefined) {
      const all = await readdir(join(this.folder, "snapshots")).catch(() => []);
      commits.push(...all.filter((commit) => !commits.includes(commit)));
    }
    for (const commit of commits) {
      const found = await this.check(this.pointerPath(commit), bytes, sha256);
      if (found !== null) return found;
    }
    return null;
  }

  private async check(
    path: string,
    bytes: number | undefined,
    sha256: string | undefined,
  ): Promise<Found | null> {
    const info = await stat(path).catch(() => null);
    if (info === null || !info.isFile() || (bytes !== undefined && info.size !== bytes)) return null;
    if (sha256 === undefined) return { path, bytes: info.size };
    // Blobs of large files are named by their SHA-256, checked when they were fetched.
    const named = basename(await realpath(path)) === sha256;
    if (!named && (await sha256OfFile(path)) !== sha256) return null;
    return { path, bytes: info.size, sha256 };
  }

  /** Links the blob into the snapshot of `commit` and points the revision there. Returns the link's path. */
  async place(etag: string, commit: string): Promise<string> {
    const pointer = this.pointerPath(commit);
    await mkdir(dirname(pointer), { recursive: true });
    const temporary = `${pointer}.${process.pid}.new`;
    await rm(temporary, { force: true });
    const target = relative(dirname(pointer), this.blobPath(etag));
    // Without the right to make links (Windows), a copy.
    await symlink(target, temporary).catch(() => copyFile(this.blobPath(etag), temporary));
    await rename(temporary, pointer);
    const { revision } = this.wanted;
    if (!isCommit(revision)) {
      const ref = join(this.folder, "refs", revision);
      await mkdir(dirname(ref), { recursive: true });
      await writeFile(`${ref}.${process.pid}.new`, commit);
      await rename(`${ref}.${process.pid}.new`, ref);
    }
    return pointer;
  }
}

export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}
