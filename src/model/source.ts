// SPDX-License-Identifier: Apache-2.0
// Where a model file comes from: a name or path in, the path of a complete and checked file (or model folder) out. Every source is
// asked for what is on this machine before any is asked to fetch.
//
// Accepted: a path, a name of the catalogue ("smollm2-135m-instruct"), "hf:org/repo[@revision]",
// "hf:org/repo/file.gguf[@revision]", and "hf:org/repo/model.safetensors" where a repository has both formats.

import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { IoError, OptionInvalidError, SourceFailedError } from "../errors.js";
import { didYouMean } from "../suggest.js";
import { catalog } from "./catalog.js";
import type { SourceProgress } from "./progress.js";
import type { Found, Source, SourceContext, Wanted } from "./sources/contract.js";
import { isSafePath, reasonOf } from "./sources/contract.js";
import { standsForFolder } from "./sources/hub-choice.js";
import { sources } from "./sources/index.js";

export type { CatalogEntry } from "./catalog.js";
export { catalog } from "./catalog.js";
export type { SourceProgress } from "./progress.js";

export interface ResolveOptions {
  /** Stops the work; the promise rejects with the signal's reason. */
  signal?: AbortSignal;
  onProgress?: (progress: SourceProgress) => void;
  /** Folder of files that do not come from the Hub. Default: $BATON_CACHE, $XDG_CACHE_HOME/baton, ~/.cache/baton. */
  cacheDir?: string;
  /** Environment to read settings from. Default: process.env. */
  env?: Readonly<Record<string, string | undefined>>;
}

export interface ResolvedModel {
  /** Absolute path of the model file or folder. */
  path: string;
  /** Catalogue name or what was asked for. */
  name: string;
  /** Source that had it: "local", "hub", "python". */
  source: string;
  bytes: number;
  /** SHA-256, hex, if it was checked when the file was fetched. */
  sha256?: string;
  /** false: it was already there. */
  downloaded: boolean;
}

/** Folder of files that do not come from the Hub. */
export function defaultCacheDir(env: Readonly<Record<string, string | undefined>> = process.env): string {
  return resolve(env.BATON_CACHE || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "baton"));
}

const hubName = /^hf:([^/@\s]+\/[^/@\s]+)(?:\/([^@\s]*?))?(?:@(\S+))?$/;

/** Throws OptionInvalidError for something that is neither a name nor a path. */
export function parseName(nameOrPath: string): Wanted {
  if (typeof nameOrPath !== "string" || nameOrPath.trim() === "" || nameOrPath.includes("\0")) {
    throw new OptionInvalidError(
      `The model is ${JSON.stringify(nameOrPath)}; name a .gguf file, "hf:org/repo", "hf:org/repo/file.gguf" or one of: ` +
        `${catalog.map((entry) => entry.name).join(", ")}.`,
      { facts: { option: "model", value: String(nameOrPath) } },
    );
  }
  const entry = catalog.find((one) => one.name === nameOrPath);
  if (entry !== undefined) return entry;
  if (!nameOrPath.startsWith("hf:")) return { name: nameOrPath, path: nameOrPath };
  const [, repo = "", file, revision = "main"] = hubName.exec(nameOrPath) ?? [];
  if (!isSafePath(repo) || (file !== undefined && !isSafePath(file)) || !isSafePath(revision)) {
    throw new OptionInvalidError(
      `${JSON.stringify(nameOrPath)} is not of the form "hf:organisation/repository[/path/file.gguf][@revision]".`,
      { facts: { option: "model", value: nameOrPath } },
    );
  }
  if (file === undefined) return { name: nameOrPath, hubModel: { repo, revision } };
  if (standsForFolder(file)) return { name: nameOrPath, hubModel: { repo, file, revision } };
  if (!file.endsWith(".safetensors")) return { name: nameOrPath, hub: { repo, file, revision } };
  throw new OptionInvalidError(
    `${JSON.stringify(nameOrPath)} is a part of a model. Name the whole: "hf:${repo}", or its model.safetensors or ` +
      "model.safetensors.index.json.",
    { facts: { option: "model", value: nameOrPath } },
  );
}

interface Failure {
  source: string;
  reason: string;
}

function allFailed(wanted: Wanted, failures: readonly Failure[]): SourceFailedError {
  const lines = failures.map(({ source, reason }) => `${source}: ${reason}`);
  const names = catalog.map((entry) => entry.name).join(", ");
  const remedy =
    wanted.path === undefined
      ? "Mend one of these, or fetch the file by other means and name its path."
      : `Name an existing .gguf file or model folder, "hf:org/repo", "hf:org/repo/file.gguf" or one of: ${names}.${didYouMean(
          wanted.name,
          catalog.map((entry) => entry.name),
        )}`;
  return new SourceFailedError(
    `No source could give ${JSON.stringify(wanted.name)}:\n${lines.map((line) => `  ${line}`).join("\n")}\n${remedy}`,
    { facts: { name: wanted.name, sources: lines } },
  );
}

/** Failures that the next source would meet too, or that the user must know at once. */
const isFinal = (error: unknown) => IoError.isInstance(error) && error.facts.code === "ENOSPC";

function contextFor(source: Source, options: ResolveOptions): SourceContext {
  const { signal, onProgress, env = process.env, cacheDir } = options;
  let told = Number.NEGATIVE_INFINITY;
  return {
    signal,
    env,
    cacheDir: cacheDir === undefined ? defaultCacheDir(env) : resolve(cacheDir),
    progress(phase, done, total, detail) {
      if (onProgress === undefined) return;
      // Chunks come by the thousand; ten reports a second are enough, the first and the last one always.
      const now = performance.now(); // the wall clock may jump
      const running = phase === "download" || phase === "unpack";
      if (running && done !== total && now - told < 100) return;
      if (running) told = now;
      onProgress({
        source: source.name,
        phase,
        done,
        ...(total === undefined ? {} : { total }),
        ...(detail === undefined ? {} : { detail }),
      });
    },
  };
}

/**
 * Throws SourceFailedError (facts.sources: each source with its reason), IoError (disk full: path and bytes needed),
 * OptionInvalidError (a name that is neither).
 */
export async function resolveModel(nameOrPath: string, options: ResolveOptions = {}): Promise<ResolvedModel> {
  const wanted = parseName(nameOrPath);
  const { signal } = options;
  const failures: Failure[] = [];
  const attempt = async (source: Source, verb: "lookup" | "fetch"): Promise<Found | null> => {
    signal?.throwIfAborted();
    const context = contextFor(source, options);
    if (verb === "fetch") context.progress("start", 0, wanted.bytes, wanted.name);
    try {
      const found = (await source[verb]?.(wanted, context)) ?? null;
      if (found !== null) context.progress("done", found.bytes, found.bytes, found.path);
      return found;
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (isFinal(error)) throw error;
      failures.push({ source: source.name, reason: reasonOf(error) });
      context.progress("failed", 0, undefined, reasonOf(error));
      return null;
    }
  };
  for (const verb of ["lookup", "fetch"] as const) {
    for (const source of sources.filter((one) => one.applies(wanted) && one[verb] !== undefined)) {
      const found = await attempt(source, verb);
      if (found === null) continue;
      return { ...found, name: wanted.name, source: source.name, downloaded: verb === "fetch" };
    }
  }
  throw allFailed(wanted, failures);
}
