// SPDX-License-Identifier: Apache-2.0
// A file that is already here, or a model folder (config.json and safetensors): used where it lies, never copied.

import { readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Found, Source, Wanted } from "./contract.js";

/** Bytes of all weights of a folder as Hugging Face stores models. */
async function folderBytes(folder: string): Promise<number> {
  const names = await readdir(folder);
  if (!names.includes("config.json")) {
    throw new Error(`${folder} is a folder without config.json; name a .gguf file or a model folder`);
  }
  const weights = names.filter((name) => name.endsWith(".safetensors"));
  const sizes = await Promise.all(weights.map(async (name) => (await stat(join(folder, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function lookup({ path = "" }: Wanted): Promise<Found> {
  const absolute = resolve(path);
  const found = await stat(absolute).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") throw new Error(`there is no file ${absolute}`);
    throw new Error(`${absolute} cannot be read: ${error.message}`);
  });
  if (found.isDirectory()) return { path: absolute, bytes: await folderBytes(absolute) };
  if (!found.isFile()) throw new Error(`${absolute} is not a regular file`);
  return { path: absolute, bytes: found.size };
}

export const localSource: Source = {
  name: "local",
  applies: (wanted) => wanted.path !== undefined,
  lookup,
};
