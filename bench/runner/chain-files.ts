// SPDX-License-Identifier: Apache-2.0
// Chains are tokenised once per run and handed to the trials as files, so that all subjects get the same ids.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { MissingData } from "../chains/data.js";
import type { ChainSources } from "../chains/forced-chain.js";
import type { Case, TrialSettings } from "../contract.js";
import { packageUrl } from "./paths.js";

export class ChainFiles {
  readonly #folder = mkdtempSync(path.join(os.tmpdir(), "baton-bench-"));
  readonly #settings: TrialSettings;
  readonly #data: string | undefined;
  #sources: ChainSources | undefined;

  constructor(settings: TrialSettings, data: string | undefined) {
    this.#settings = settings;
    this.#data = data;
  }

  /** The settings for the trials of a case; null, with the reason told, when its data is not there. */
  async settingsFor(one: Case, tell: (line: string) => void): Promise<TrialSettings | null> {
    if (one.chains === undefined) return this.#settings;
    this.#sources ??= await openSources(this.#settings.model, this.#data);
    const file = path.join(this.#folder, `${one.id}.json`);
    try {
      writeFileSync(file, JSON.stringify(one.chains(this.#sources)));
    } catch (error) {
      if (!(error instanceof MissingData)) throw error;
      tell(`${one.id} is left out: it ${error.message}`);
      return null;
    }
    return { ...this.#settings, chains: file };
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** The model is opened for its tokenizer and closed again: nothing of it may disturb the trials. */
async function openSources(model: string, data: string | undefined): Promise<ChainSources> {
  const { loadModel } = (await import(packageUrl)) as typeof import("../../src/index.js");
  const opened = await loadModel(model, { threads: 1 });
  const { tokenizer } = opened;
  await opened.close();
  return { data, encode: (text) => [...tokenizer.encode(text, { specials: false })] };
}
