// SPDX-License-Identifier: Apache-2.0
// What a source of model files is. A source either has nothing to do with what is wanted (`applies`), finds it on
// this machine without the network (`lookup`), or fetches it (`fetch`); any error it throws is its reason.

import type { HubFile, PythonPackageFile } from "../catalog.js";
import type { SourceProgress } from "../progress.js";

/** A whole model of the Hub, whatever its files. */
export interface HubModel {
  /** "organisation/repository" */
  repo: string;
  /** Path of the file that names one of several; absent: the only one there is. */
  file?: string;
  /** Branch, tag or commit. */
  revision: string;
}

/** What was asked for, with every place where it may be. */
export interface Wanted {
  /** Catalogue name or what was asked for. */
  name: string;
  path?: string;
  hub?: HubFile;
  hubModel?: HubModel;
  python?: PythonPackageFile;
  bytes?: number;
  sha256?: string;
}

export interface SourceContext {
  signal: AbortSignal | undefined;
  progress(phase: SourceProgress["phase"], done: number, total?: number, detail?: string): void;
  env: Readonly<Record<string, string | undefined>>;
  /** Folder of files that do not come from the Hub. */
  cacheDir: string;
}

export interface Found {
  /** Absolute. */
  path: string;
  bytes: number;
  /** Hex, if it was checked now or when the file was fetched. */
  sha256?: string;
}

export interface Source {
  readonly name: string;
  applies(wanted: Wanted): boolean;
  /** Null: not on this machine. */
  lookup(wanted: Wanted, context: SourceContext): Promise<Found | null>;
  /** Absent: what is not here, this source cannot get. */
  fetch?(wanted: Wanted, context: SourceContext): Promise<Found>;
}

/** A relative path that stays where it is put, whatever the system. */
export const isSafePath = (path: string) =>
  !/[\\:\0]/.test(path) && path.split("/").every((part) => part !== "" && part !== "." && part !== "..");

/** One line that names the cause: network errors hide theirs. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (!(cause instanceof Error)) return error.message;
  const { code } = cause as NodeJS.ErrnoException;
  return `${error.message}: ${cause.message || code || cause.name}`;
}
