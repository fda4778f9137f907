// SPDX-License-Identifier: Apache-2.0
// What cases need as files, made once per run for all subjects: chains tokenised, so that all get the same ids; models
// for speed; the reference that distributions are compared with.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { MissingData } from "../chains/data.js";
import type { ChainSources } from "../chains/forced-chain.js";
import type { Case, TrialSettings } from "../contract.js";
import { referenceFile, retypedFile } from "../divergence/reference.js";
import { modelFile } from "../models/model-files.js";
import { packageUrl } from "./paths.js";

export interface CaseFilesInit {
  settings: TrialSettings;
  /** Folder of the chain data, if there is one. */
  data: string | undefined;
  /** Folder of speed models and references, kept for later runs. */
  models: string;
  tell: (line: string) => void;
}

export class CaseFiles {
  readonly #folder = mkdtempSync(path.join(os.tmpdir(), "baton-bench-"));
  readonly #init: CaseFilesInit;
  /** By the model whose tokenizer they have. */
  readonly #sources = new Map<string, ChainSources>();

  constructor(init: CaseFilesInit) {
    this.#init = init;
  }

  /** The settings for the trials of a case. Throws MissingData when something that it needs is not there. */
  async settingsFor(one: Case): Promise<TrialSettings> {
    const { settings, models, tell } = this.#init;
    const model = await this.#model(one);
    const own: TrialSettings = { ...settings, model };
    if (one.chains !== undefined) own.chains = await this.#chains(one.id, model, one.chains);
    if (one.reference !== undefined) {
      const sources = await this.#open(model);
      const { threads } = settings;
      own.reference = await referenceFile({
        ...one.reference,
        model,
        sources,
        folder: models,
        threads,
        tell,
      });
    }
    return own;
  }

  /** Where a case's trace goes until it is read. */
  traceFile(id: string): string {
    return path.join(this.#folder, `${id}.trace.json`);
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #model({ model, retyped }: Case): Promise<string> {
    const { settings, models: folder, tell } = this.#init;
    if (model !== undefined) return modelFile(folder, model, tell);
    if (retyped === undefined) return settings.model;
    return retypedFile({ model: settings.model, folder, tell }, retyped);
  }

  async #chains(id: string, model: string, make: NonNullable<Case["chains"]>): Promise<string> {
    const file = path.join(this.#folder, `${id}.json`);
    writeFileSync(file, JSON.stringify(make(await this.#open(model))));
    return file;
  }

  async #open(model: string): Promise<ChainSources> {
    const found = this.#sources.get(model) ?? (await openSources(model, this.#init.data));
    this.#sources.set(model, found);
    return found;
  }
}

/** Why a case is left out, if that is what was thrown. */
export function whyMissing(error: unknown): string {
  if (error instanceof MissingData) return `it ${error.message}`;
  throw error;
}

/** The model is opened for its tokenizer and closed again: nothing of it may disturb the trials. */
async function openSources(model: string, data: string | undefined): Promise<ChainSources> {
  const { loadModel } = (await import(packageUrl)) as typeof import("../../src/index.js");
  const opened = await loadModel(model, { device: "cpu", threads: 1 });
  const { tokenizer } = opened;
  await opened.close();
  return { data, encode: (text) => [...tokenizer.encode(text, { specials: false })] };
}
