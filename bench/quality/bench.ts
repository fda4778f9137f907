// SPDX-License-Identifier: Apache-2.0
// What runs work with: the package as users get it, a model in the settings of the case, and a folder for what is kept
// between runs and sittings (tuned prompts, frozen KV).
import { existsSync, mkdirSync } from "node:fs";
import path from "node:path";
import { UsageError } from "../runner/options.js";
import { packageUrl } from "../runner/paths.js";

export type Package = typeof import("../../src/index.js");
export type Model = Awaited<ReturnType<Package["loadModel"]>>;
export type LoadOptions = NonNullable<Parameters<Package["loadModel"]>[1]>;

export interface BenchInit {
  /** Absolute path of the GGUF file. */
  model: string;
  threads: number;
  data: string | undefined;
  /** Of what is kept; made. */
  work: string;
  signal: AbortSignal;
  say: (line: string) => void;
}

export class Bench {
  readonly init: BenchInit;
  readonly library: Package;
  #open: { key: string; model: Model } | null = null;

  private constructor(init: BenchInit, library: Package) {
    this.init = init;
    this.library = library;
  }

  /** `library`: the package, by default as it is built. */
  static async create(init: BenchInit, library?: Package): Promise<Bench> {
    mkdirSync(init.work, { recursive: true });
    return new Bench(init, library ?? ((await import(packageUrl)) as Package));
  }

  /** One model at a time: the open one if it was opened with these options. */
  async model(options: LoadOptions): Promise<Model> {
    const key = JSON.stringify(options);
    if (this.#open?.key === key) return this.#open.model;
    await this.close();
    const model = await this.library.loadModel(this.init.model, { threads: this.init.threads, ...options });
    this.#open = { key, model };
    return model;
  }

  async close(): Promise<void> {
    await this.#open?.model.close();
    this.#open = null;
  }

  /** For frozen KV: files are known by their content, so that all cases, variants and seeds share it. */
  get frozenFolder(): string {
    return path.join(this.init.work, "frozen");
  }

  /** Where a run leaves the prompts that it has tuned, a folder per stage. */
  outputFolder(id: string, variant: string, seed: number): string {
    return path.join(this.init.work, "prompts", id, variant, String(seed));
  }

  /** The folder of a prompt that another run has left. Throws UsageError if it is gone. */
  tunedPrompt(id: string, variant: string, seed: number, stage: string): string {
    const folder = path.join(this.outputFolder(id, variant, seed), stage);
    if (existsSync(path.join(folder, "adapter_config.json"))) return folder;
    throw new UsageError(
      `the prompt of ${id}/${variant} with seed ${seed} is not in ${folder} any more: give the --work folder of the ` +
        "sitting that tuned it, or take the run out of the JSON file",
    );
  }
}
