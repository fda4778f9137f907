// SPDX-License-Identifier: Apache-2.0
// Something made of files that may change while it is served. What requests see is replaced as a whole, by one
// assignment, and only by something that was read from files which did not change meanwhile: it is loaded once to learn
// which files those are, and again between two looks at them that must be equal. What cannot be loaded changes nothing.

import { stat } from "node:fs/promises";

export interface Loaded<T> {
  value: T;
  /** Absolute paths of all that it was made of, folders' files included; one that is not there counts, too. */
  files: readonly string[];
}

export type Look = "same" | "unsettled" | "replaced" | "broken";

const mostTries = 5;

async function markOf(file: string): Promise<string> {
  try {
    const { ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
    return `${file} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
  } catch {
    return `${file} absent`;
  }
}

/** Tells one state of the files from another. */
export async function fingerprint(files: readonly string[]): Promise<string> {
  return (await Promise.all([...new Set(files)].sort().map(markOf))).join("\n");
}

interface Settled<T> extends Loaded<T> {
  print: string;
}

async function loadSettled<T>(load: () => Promise<Loaded<T>>): Promise<Settled<T>> {
  let { files } = await load();
  for (let turn = 0; turn < mostTries; turn++) {
    const before = await fingerprint(files);
    const loaded = await load();
    if ((await fingerprint(loaded.files)) === before) return { ...loaded, print: before };
    files = loaded.files;
  }
  throw new Error(`The files change faster than they can be read: ${files.join(", ")}.`);
}

export class Watched<T> {
  readonly #load: () => Promise<Loaded<T>>;
  #now: Settled<T>;
  /** How the files were when somebody looked last. */
  #seen: string;

  private constructor(load: () => Promise<Loaded<T>>, now: Settled<T>) {
    this.#load = load;
    this.#now = now;
    this.#seen = now.print;
  }

  /** Rejects with what `load` rejects with. */
  static async open<T>(load: () => Promise<Loaded<T>>): Promise<Watched<T>> {
    return new Watched(load, await loadSettled(load));
  }

  get value(): T {
    return this.#now.value;
  }

  /**
   * Looks at the files. Changed ones are loaded when they are as they were at the look before, or at once if `now`: who
   * writes several has the time between two looks. `broken`: they cannot be loaded, which is said once, to `onBroken`.
   */
  async look(onBroken: (error: unknown) => void, now = false): Promise<Look> {
    const print = await fingerprint(this.#now.files);
    if (print === this.#now.print) {
      this.#seen = print;
      return "same";
    }
    const settled = print === this.#seen;
    this.#seen = print;
    if (!settled && !now) return "unsettled";
    if (this.#broken === print) return "broken";
    try {
      this.#now = await loadSettled(this.#load);
      this.#broken = null;
      return "replaced";
    } catch (error) {
      this.#broken = print;
      onBroken(error);
      return "broken";
    }
  }

  /** The state of the files that could not be loaded. */
  #broken: string | null = null;
}
