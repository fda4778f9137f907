// SPDX-License-Identifier: Apache-2.0
// Whole models of the Hub: "hf:org/repo", or "hf:org/repo/model.safetensors" where a repository has several. Only the
// files that the model is made of are fetched, each into the Hub's cache as any file is; the revision points to them
// when the last one is there, so that half a model is never found.

import { mkdir, readdir, readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { IoError } from "../../errors.js";
import type { Found, HubModel, Source, SourceContext, Wanted } from "./contract.js";
import { HubCache } from "./hub-cache.js";
import type { ModelChoice } from "./hub-choice.js";
import { chooseModel, companionsOf, indexName, shardsOf } from "./hub-choice.js";
import type { Access, Listing } from "./hub-client.js";
import { explain, isOffline, listRepository, readAccess } from "./hub-client.js";
import { fetchBlob } from "./hub-download.js";
import { requireRoom } from "./partial-file.js";

/** An index is named after the folder that it stands for; a single file may have an index of others beside it. */
const isIndex = (file: string) => file.endsWith(indexName);

async function sizeOf(path: string): Promise<number> {
  const info = await stat(path);
  if (!info.isFile()) throw new Error(`${path} is no file`);
  return info.size;
}

/** The model whose file is `file`; null when a part of it is not in the snapshot. */
async function inSnapshot(cache: HubCache, commit: string, file: string): Promise<Found | null> {
  try {
    const path = cache.pointerPath(commit, file);
    if (!isIndex(file)) return { path, bytes: await sizeOf(path) };
    const shards = shardsOf(await readFile(path, "utf8"), file);
    const sizes = await Promise.all(shards.map((shard) => sizeOf(cache.pointerPath(commit, shard))));
    return { path: dirname(path), bytes: sizes.reduce((sum, size) => sum + size, 0) };
  } catch {
    return null;
  }
}

/** What other tools have put into the snapshot: good enough when nobody can be asked. */
async function chosenOffline(
  cache: HubCache,
  commit: string,
  { repo, file }: HubModel,
): Promise<string | null> {
  try {
    const paths = await readdir(cache.pointerPath(commit, "."), { recursive: true });
    const choice = chooseModel(paths, file, repo);
    if (choice.kind === "gguf") return choice.file;
    companionsOf(paths, choice.folder, repo);
    return choice.weights;
  } catch {
    return null;
  }
}

const cacheOf = ({ env }: SourceContext, { repo, revision }: HubModel, file: string) =>
  new HubCache(env, { repo, revision, file });

const askedOf = ({ file = "" }: HubModel) => file || "default";

async function lookup(wanted: Wanted, context: SourceContext): Promise<Found | null> {
  const model = wanted.hubModel as HubModel;
  const cache = cacheOf(context, model, "config.json");
  const commit = await cache.commit();
  if (commit === null) return null;
  const known = await cache.readModel(commit, askedOf(model));
  const file = known ?? (isOffline(context.env) ? await chosenOffline(cache, commit, model) : null);
  return file === null ? null : await inSnapshot(cache, commit, file);
}

/** Fetches files of one listing one after another, with progress over all of them. */
class Fetching {
  /** Bytes of the files that are there. */
  private done = 0;
  total: number | undefined;

  constructor(
    private readonly model: HubModel,
    private readonly listing: Listing,
    private readonly access: Access,
    private readonly context: SourceContext,
  ) {}

  sizeOf(paths: readonly string[]): number {
    return paths.reduce((sum, path) => sum + this.listing.file(path).bytes, 0);
  }

  /** Links the file into the snapshot and returns the link's path. */
  async file(path: string): Promise<string> {
    const { model, access, context } = this;
    const remote = this.listing.file(path);
    const cache = cacheOf(context, model, path);
    const progress: SourceContext["progress"] = (phase, bytes, total, detail) => {
      if (phase !== "download") context.progress(phase, bytes, total, detail);
      else context.progress(phase, this.done + bytes, this.total, detail);
    };
    const hub = { repo: model.repo, revision: model.revision, file: path };
    const place = () => cache.place(remote.etag, remote.commit);
    const placed = await fetchBlob(cache, hub, remote, access, { ...context, progress }, place);
    this.done += remote.bytes;
    return placed;
  }

  /** Throws IoError, before anything is loaded, if the disk cannot hold what is missing. */
  async requireRoom(paths: readonly string[]): Promise<void> {
    let needed = 0;
    for (const path of paths) {
      const { etag, bytes } = this.listing.file(path);
      const there = await stat(cacheOf(this.context, this.model, path).blobPath(etag)).catch(() => null);
      if (there?.size !== bytes) needed += bytes;
    }
    const folder = cacheOf(this.context, this.model, "").blobPath("all");
    await mkdir(dirname(folder), { recursive: true });
    await requireRoom(folder, needed);
  }
}

async function fetchFolder(
  choice: Extract<ModelChoice, { kind: "safetensors" }>,
  { repo }: HubModel,
  listing: Listing,
  fetching: Fetching,
): Promise<Found> {
  const paths = [...listing.sizes.keys()];
  const { folder, weights } = choice;
  const around = companionsOf(paths, folder, repo);
  let shards = [weights];
  let path = "";
  if (isIndex(weights)) {
    path = dirname(await fetching.file(weights));
    shards = shardsOf(await readFile(`${path}/${indexName}`, "utf8"), weights);
    const missing = shards.filter((shard) => !listing.sizes.has(shard));
    if (missing.length > 0) {
      throw new Error(
        `${weights} of ${repo} names ${missing.join(", ")}, which the repository does not have: it is not complete`,
      );
    }
  }
  const all = [...around, ...shards];
  await fetching.requireRoom(all);
  fetching.total = fetching.sizeOf(isIndex(weights) ? [weights, ...all] : all);
  let last = "";
  for (const one of all) last = await fetching.file(one);
  return { path: path || last, bytes: fetching.sizeOf(shards) };
}

async function fetchModel(wanted: Wanted, context: SourceContext): Promise<Found> {
  const model = wanted.hubModel as HubModel;
  if (isOffline(context.env)) throw new Error("HF_HUB_OFFLINE is set and the model is not in the cache");
  const access = await readAccess(context.env);
  try {
    const listing = await listRepository(model, access, context);
    const choice = chooseModel([...listing.sizes.keys()], model.file, model.repo);
    const fetching = new Fetching(model, listing, access, context);
    const file = choice.kind === "gguf" ? choice.file : choice.weights;
    if (choice.kind === "gguf") fetching.total = fetching.sizeOf([file]);
    const found =
      choice.kind === "gguf"
        ? { path: await fetching.file(file), bytes: fetching.sizeOf([file]) }
        : await fetchFolder(choice, model, listing, fetching);
    const cache = cacheOf(context, model, file);
    await cache.writeModel(listing.commit, askedOf(model), file);
    await cache.pointRevision(listing.commit);
    return found;
  } catch (error) {
    if (context.signal?.aborted) throw context.signal.reason;
    if (IoError.isInstance(error)) throw error;
    throw await explain(error, `${model.repo}@${model.revision}`, access);
  }
}

export const hubModelSource: Source = {
  name: "hub",
  applies: (wanted) => wanted.hubModel !== undefined,
  lookup,
  fetch: fetchModel,
};
