// SPDX-License-Identifier: Apache-2.0
// A file that is already here: used where it lies, never copied.

import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Found, Source, Wanted } from "./contract.js";

async function lookup({ path = "" }: Wanted): Promise<Found> {
  const absolute = resolve(path);
  const found = await stat(absolute).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") throw new Error(`there is no file ${absolute}`);
    throw new Error(`${absolute} cannot be read: ${error.message}`);
  });
  if (found.isDirectory()) throw new Error(`${absolute} is a folder; name the .gguf file in it`);
  if (!found.isFile()) throw new Error(`${absolute} is not a regular file`);
  return { path: absolute, bytes: found.size };
}

export const localSource: Source = {
  name: "local",
  applies: (wanted) => wanted.path !== undefined,
  lookup,
};
