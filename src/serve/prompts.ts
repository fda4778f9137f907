// SPDX-License-Identifier: Apache-2.0
// Prompts by name: the PEFT folders below one folder, read into memory for every served model that they fit. A name is
// the path below that folder; requests look it up in the table that was made here. Folders that come, change and go while
// the server runs are noticed.

import { readdir, realpath } from "node:fs/promises";
import { join, sep } from "node:path";
import { IoError } from "../index.js";
import type { ResolvedPrompt } from "../model/prompt.js";
import { resolvePrompt } from "../model/prompt.js";
import type { ServedModel } from "./models.js";
import { lookUp, promptPattern } from "./names.js";
import type { Loaded } from "./watched.js";
import { fingerprint, Watched } from "./watched.js";

/** What of a folder decides about a prompt. */
const promptFiles = ["adapter_config.json", "adapter_model.safetensors", "baton_contract.json"];
const mostDepth = 4;
const mostPrompts = 1000;

export const filesOfPrompt = (folder: string): string[] => promptFiles.map((file) => join(folder, file));

export interface NamedPrompt {
  readonly name: string;
  readonly folder: string;
  /** By the model that it fits. */
  readonly rows: ReadonlyMap<ServedModel, ResolvedPrompt>;
}

/** Hears what became of a prompt or chain whose files changed: for the server's log and figures. */
export type Tell = (outcome: "replaced" | "broken" | "gone", message: string, error?: unknown) => void;

/** Relative path with "/" -> folder. Links that lead out of the folder are left out. */
async function foldersBelow(root: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const base = await realpath(root);
  const visit = async (folder: string, name: string, depth: number): Promise<void> => {
    const entries = await readdir(folder, { withFileTypes: true });
    if (name !== "" && entries.some((one) => one.name === promptFiles[0])) found.set(name, folder);
    if (depth === mostDepth || found.size > mostPrompts) return;
    for (const entry of entries) {
      if (!entry.isDirectory() && !entry.isSymbolicLink()) continue;
      const path = await realpath(join(folder, entry.name)).catch(() => null);
      if (path === null || !path.startsWith(base + sep)) continue;
      const below = name === "" ? entry.name : `${name}/${entry.name}`;
      if (new RegExp(promptPattern).test(below)) await visit(path, below, depth + 1).catch(() => {});
    }
  };
  await visit(base, "", 0);
  return found;
}

export class Prompts {
  readonly #root: string | null;
  readonly #models: readonly ServedModel[];
  readonly #tell: Tell;
  readonly #open = new Map<string, { folder: string; watched: Watched<NamedPrompt> }>();
  /** Folders that could not be read, as they were then. */
  readonly #refused = new Map<string, string>();
  /** What requests see. */
  #table: ReadonlyMap<string, NamedPrompt> = new Map();

  private constructor(root: string | null, models: readonly ServedModel[], tell: Tell) {
    this.#root = root;
    this.#models = models;
    this.#tell = tell;
  }

  /** Throws IO for a folder that is not there. A prompt that cannot be read is told of and left out. */
  static async open(root: string | undefined, models: readonly ServedModel[], tell: Tell): Promise<Prompts> {
    const prompts = new Prompts(root ?? null, models, tell);
    await prompts.look(true);
    return prompts;
  }

  get names(): readonly string[] {
    return [...this.#table.keys()];
  }

  /** Throws ServeError 404. `name`: checked. */
  get(name: string, param: string): NamedPrompt {
    return lookUp(this.#table, "prompt", name, param);
  }

  /** Looks for what has changed; see Watched.look. */
  async look(now = false): Promise<void> {
    if (this.#root === null) return;
    const folders = await foldersBelow(this.#root).catch((cause: Error) => {
      throw new IoError(`The folder of prompts cannot be read: ${cause.message}. Give one that is there.`, {
        facts: { path: this.#root ?? "" },
        cause,
      });
    });
    for (const [name, { folder }] of this.#open) {
      if (folders.get(name) === folder) continue;
      this.#open.delete(name);
      this.#tell("gone", `prompt "${name}" is gone`);
    }
    for (const [name, folder] of folders) {
      const open = this.#open.get(name);
      if (open === undefined) await this.#add(name, folder);
      else {
        const look = await open.watched.look(
          (error) => this.#tell("broken", `prompt "${name}" stays as it was`, error),
          now,
        );
        if (look === "replaced") this.#tell("replaced", `prompt "${name}" was read again`);
      }
    }
    this.#table = new Map([...this.#open].map(([name, { watched }]) => [name, watched.value]));
  }

  async #add(name: string, folder: string): Promise<void> {
    const print = await fingerprint(filesOfPrompt(folder));
    if (this.#refused.get(name) === print) return;
    try {
      const watched = await Watched.open(() => this.#read(name, folder));
      this.#open.set(name, { folder, watched });
      this.#refused.delete(name);
    } catch (error) {
      this.#refused.set(name, print);
      this.#tell("broken", `prompt "${name}" is not served`, error);
    }
  }

  /** Rejects with what the last model says if it fits none. */
  async #read(name: string, folder: string): Promise<Loaded<NamedPrompt>> {
    const rows = new Map<ServedModel, ResolvedPrompt>();
    let failure: unknown;
    for (const served of this.#models) {
      const { info, tokenizer } = served.model;
      try {
        rows.set(served, await resolvePrompt(folder, { hidden: info.hidden, tokenizer }));
      } catch (error) {
        failure = error;
      }
    }
    if (rows.size === 0 && failure !== undefined) throw failure;
    return { value: { name, folder, rows }, files: filesOfPrompt(folder) };
  }
}
