// SPDX-License-Identifier: Apache-2.0
// Documents that use documents in other files. Files are known by their real paths, so that a link is no way around the
// rule that none uses itself; every error inside of one names the files that lead to it.

import { readFileSync, realpathSync } from "node:fs";
import { BatonError, ChainInvalidError, errorFromCode, IoError } from "../../errors.js";

/** Files that one document opens, those used twice counted twice: more is a mistake that grows with every level. */
const mostFiles = 256;

export interface OpenFiles {
  /** From the outermost document to this one; the outermost is absent if it is in no file. */
  readonly path: readonly string[];
  /** Shared by all documents of one chain. `tell` hears the path of each. */
  readonly opened: { count: number; readonly tell?: (file: string) => void };
}

const arrow = (path: readonly string[]) => path.join(" -> ");

/** `place`: of the field that names the file. Throws IO for a file that is not there, CHAIN_INVALID for a circle. */
export function enter({ path, opened }: OpenFiles, file: string, place: string): OpenFiles {
  opened.tell?.(file);
  const real = systemCall(file, place, path, () => realpathSync(file));
  const entered = [...path, real];
  if (path.includes(real)) {
    throw new ChainInvalidError(
      `${place} leads around in a circle: ${arrow(entered)}. A document cannot use itself; take one of these out.`,
      { facts: { path: place, value: real, files: entered } },
    );
  }
  opened.count++;
  if (opened.count > mostFiles) {
    throw new ChainInvalidError(
      `${place} is the ${opened.count}th document that is opened (${arrow(entered)}). At most ${mostFiles} may be; does ` +
        "every level use the next one more than once?",
      { facts: { path: place, value: opened.count, limit: mostFiles, files: entered } },
    );
  }
  return { path: entered, opened };
}

/** What the innermost file holds. Throws IO, CHAIN_INVALID. */
export function readJson({ path }: OpenFiles, place: string): unknown {
  const file = path.at(-1) as string;
  const text = systemCall(file, place, path.slice(0, -1), () => readFileSync(file, "utf8"));
  return parseJson(text, file);
}

/** Throws CHAIN_INVALID that names the file. */
export function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ChainInvalidError(`${file} is not JSON: ${(cause as Error).message}. Mend it there.`, {
      facts: { path: file },
      cause,
    });
  }
}

function systemCall<T>(file: string, place: string, path: readonly string[], call: () => T): T {
  try {
    return call();
  } catch (cause) {
    const from = path.length === 0 ? "" : ` (from ${arrow(path)})`;
    throw new IoError(
      `${place} names ${file}${from}, which cannot be read: ${(cause as Error).message}. Paths start at the document ` +
        "that names them; correct this one.",
      { facts: { path: place, value: file, files: [...path, file] }, cause },
    );
  }
}

/** Does `work`; an error in it names the files. */
export function inFiles<T>({ path }: OpenFiles, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!BatonError.isInstance(error) || error.facts.files !== undefined) throw error;
    const facts = { ...error.facts, files: path };
    throw errorFromCode(error.code, `${arrow(path)}: ${error.message}`, { facts, cause: error });
  }
}
