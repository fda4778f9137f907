// SPDX-License-Identifier: Apache-2.0
// Where frozen rows are kept on disk and how many bytes of them: beside the models that were fetched, unless the caller
// or the environment names another folder or none.

import { statfs } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { OptionInvalidError } from "../errors.js";
import { defaultCacheDir } from "../model/source.js";

export interface FrozenPlace {
  /** Absolute; made when the first file is written. */
  folder: string;
  /** Most bytes of files in it. */
  bytes: number;
  /** Says once that files cannot be written. */
  onWarning: (message: string) => void;
}

export interface FrozenPlaceOptions {
  frozenFolder?: string | null;
  frozenDiskBytes?: number;
  onWarning?: (message: string) => void;
}

type Environment = Readonly<Record<string, string | undefined>>;

const gibibyte = 2 ** 30;
const mostBytes = 8 * gibibyte;

/** Throws OPTION_INVALID for what is no number of bytes. */
export function bytesOption(option: string, value: number | undefined): number | undefined {
  if (value === undefined || (Number.isFinite(value) && value >= 0)) return value;
  throw new OptionInvalidError(`\`${option}\` is ${String(value)}, which must be a number of bytes.`, {
    facts: { option, value: String(value) },
  });
}

function defaultFolder(env: Environment): string | null {
  const named = env.BATON_FROZEN_FOLDER || join(defaultCacheDir(env), "frozen-kv");
  return named === "off" ? null : resolve(named);
}

/** What is free where the folder is or will be; files of earlier runs in it are not counted as free. */
async function freeBytes(folder: string): Promise<number> {
  for (let path = folder; ; path = dirname(path)) {
    const found = await statfs(path).catch(() => null);
    if (found !== null) return found.bavail * found.bsize;
    if (path === dirname(path)) return 0;
  }
}

/** Null: frozen rows are kept in memory only. Throws OPTION_INVALID. */
export async function diskOf(
  { frozenFolder, frozenDiskBytes, onWarning }: FrozenPlaceOptions,
  env: Environment = process.env,
): Promise<FrozenPlace | null> {
  const given = bytesOption("frozenDiskBytes", frozenDiskBytes);
  const isPath = typeof frozenFolder === "string" && frozenFolder !== "";
  if (frozenFolder !== undefined && frozenFolder !== null && !isPath) {
    throw new OptionInvalidError(
      `\`frozenFolder\` is ${JSON.stringify(frozenFolder)}, which must be the path of a folder, or null for none.`,
      { facts: { option: "frozenFolder", value: String(frozenFolder) } },
    );
  }
  const folder = frozenFolder === undefined ? defaultFolder(env) : frozenFolder;
  if (folder === null) return null;
  const place = resolve(folder);
  const bytes = given ?? Math.min(mostBytes, (await freeBytes(place)) / 4);
  return { folder: place, bytes, onWarning: onWarning ?? ((text) => process.emitWarning(text)) };
}
