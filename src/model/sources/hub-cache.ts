// SPDX-License-Identifier: Apache-2.0
// The standard cache of the Hugging Face Hub, shared with Python and other tools: content in blobs/<etag>, one
// snapshot folder per commit with links into blobs, refs/<revision> naming the commit.

import { createHash, randomUUID } from "node:crypto";
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

  /** Of the wanted file, or of another of the repository. */
  pointerPath(commit: string, file = this.wanted.file): string {
    return join(this.folder, "snapshots", commit, ...file.split("/"));
  }

  /** Null: the revision was never fetched. */
  async commit(): Promise<string | null> {
    const { revision } = this.wanted;
    if (isCommit(revision)) return revision;
    const ref = await readFile(join(this.folder, "refs", revision), "utf8").catch(() => "");
    return isCommit(ref.trim()) ? ref.trim() : null;
  }

  /** Which file stands for the model that was asked for as `asked`, once all of it is here. */
  private modelPath(commit: string, asked: string): string {
    return join(this.folder, "baton-models", commit, encodeURIComponent(asked));
  }

  readModel(commit: string, asked: string): Promise<string | null> {
    return readFile(this.modelPath(commit, asked), "utf8").catch(() => null);
  }

  async writeModel(commit: string, asked: string, file: string): Promise<void> {
    await writeWhole(this.modelPath(commit, asked), file);
  }

  /** The file of the revision last fetched; with a known SHA-256, of any revision. */
  async lookup({ bytes, sha256 }: Wanted): Promise<Found | null> {
    const commit = await this.commit();
    const commits = commit === null ? [] : [commit];
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

  /** Links the blob into the snapshot of `commit`. Returns the link's path. */
  async place(etag: string, commit: string): Promise<string> {
    const pointer = this.pointerPath(commit);
    await mkdir(dirname(pointer), { recursive: true });
    const temporary = `${pointer}.${process.pid}.new`;
    await rm(temporary, { force: true });
    const target = relative(dirname(pointer), this.blobPath(etag));
    // Without the right to make links (Windows), a copy.
    await symlink(target, temporary).catch(() => copyFile(this.blobPath(etag), temporary));
    await rename(temporary, pointer);
    return pointer;
  }

  /** From now on the revision is `commit`. */
  async pointRevision(commit: string): Promise<void> {
    const { revision } = this.wanted;
    if (!isCommit(revision)) await writeWhole(join(this.folder, "refs", revision), commit);
  }
}

async function writeWhole(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${randomUUID()}.new`;
  await writeFile(temporary, text);
  await rename(temporary, path);
}

export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}
