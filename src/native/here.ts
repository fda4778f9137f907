// SPDX-License-Identifier: Apache-2.0
// Where the library's code is. A bundler that makes CommonJS of a program has no import.meta, but __filename.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const url: string | undefined = import.meta.url;

/** URL of the file that this code runs from. */
export const here = url ?? pathToFileURL(__filename).href;

/** require() as from there: for the addon, and for packages that are loaded with their first use. */
export const requireHere = createRequire(here);
