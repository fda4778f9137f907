// SPDX-License-Identifier: Apache-2.0
// A loaded model: frozen weights, tokenizer and KV pool behind one engine thread. It owns everything made from it;
// close() ends running jobs, frees weights and pool, and may be called again.

import { ModelFormatError } from "../errors.js";
import { EngineClient } from "../native/engine-client.js";
import { loadNative } from "../native/load.js";
import type {
  CacheStats,
  EngineStats,
  ModelFileInfo,
  ModelInfo,
  NativeModelOptions,
} from "../native/types.js";
import type { LoadOptions } from "./options.js";
import { nativeOptions, runLimits } from "./options.js";
import { RunQueue } from "./run-queue.js";
import type { ResolvedModel } from "./source.js";
import { resolveModel } from "./source.js";
import type { ChatTemplate, TemplateChoice } from "./template.js";
import { createTemplate } from "./template.js";
import type { TokenBytes, Tokenizer } from "./tokenizer.js";
import { createTokenizer, hashTokenizer } from "./tokenizer.js";

interface ModelParts {
  source: ResolvedModel;
  file: ModelFileInfo;
  engine: EngineClient;
  tokenizer: Tokenizer;
  tokenBytes: TokenBytes;
  runs: RunQueue;
}

/** What a model does now and has done since it was loaded. */
export interface ModelActivity extends EngineStats {
  /** Runs of chains in progress. */
  runs: number;
  /** Runs that wait for their turn (`maxConcurrentRuns`). */
  waitingRuns: number;
}

const marker: unique symbol = Symbol.for("baton-lm.model");

export class Model {
  readonly [marker] = true;
  /** Catalogue name or what was asked for. */
  readonly name: string;
  /** Absolute path of the model file. */
  readonly path: string;
  readonly info: ModelInfo;
  readonly tokenizer: Tokenizer;
  /** Jobs and segments of this model; for code of this package. */
  readonly engine: EngineClient;
  /** Bytes of every token's text; for code of this package. */
  readonly tokenBytes: TokenBytes;
  /** Who may run now; for code of this package. */
  readonly runs: RunQueue;
  readonly #file: ModelFileInfo;
  #tokenizerHash: string | undefined;

  constructor({ source, file, engine, tokenizer, tokenBytes, runs }: ModelParts) {
    this.name = source.name;
    this.path = source.path;
    this.info = engine.info();
    this.tokenizer = tokenizer;
    this.engine = engine;
    this.tokenBytes = tokenBytes;
    this.runs = runs;
    this.#file = file;
  }

  /** True for a model of any installed copy of the package. */
  static isInstance(value: unknown): value is Model {
    return typeof value === "object" && value !== null && marker in value;
  }

  get closed(): boolean {
    return this.engine.closed;
  }

  /** KV pool: budget, used and peak bytes. Throws ClosedError. */
  stats(): CacheStats {
    return this.engine.stats();
  }

  /** Runs in progress and waiting; forwards and rows so far. Throws ClosedError. */
  activity(): ModelActivity {
    return { runs: this.runs.running, waitingRuns: this.runs.waiting, ...this.engine.engineStats() };
  }

  /** SHA-256, hex, of what the file says of the tokenizer; for code of this package. */
  get tokenizerHash(): string {
    this.#tokenizerHash ??= hashTokenizer(this.#file.metadata);
    return this.#tokenizerHash;
  }

  /** The file's chat template, or a Jinja text in place of it. Throws TemplateInvalidError. */
  template(name?: TemplateChoice): ChatTemplate {
    return createTemplate(this.#file.metadata, this.tokenizer, name);
  }

  /** Runs that wait or are in progress fail with CLOSED. Idempotent. */
  close(): Promise<void> {
    this.runs.close();
    return this.engine.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Rows without a token are padding; a token without a row is another model's. Throws ModelFormatError. */
function requireSameVocabulary({ size }: Tokenizer, { vocab }: ModelInfo, path: string): void {
  if (size <= vocab) return;
  throw new ModelFormatError(
    `${path}: the tokenizer has ${size} tokens and the model ${vocab}: they are of different models. Give the model ` +
      "the tokenizer that it was trained with.",
    { facts: { path, tokens: size, vocab } },
  );
}

type OpenedParts = Pick<ModelParts, "engine" | "file" | "tokenizer" | "tokenBytes">;

/** Reads the tokenizer here while the addon prepares the weights on threads of its own: each takes a tenth of a second. */
async function openParts(
  { path, name }: ResolvedModel,
  nativeModelOptions: NativeModelOptions,
  { signal, onProgress }: LoadOptions,
): Promise<OpenedParts> {
  const failed = new AbortController();
  const stop = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]);
  const report = (done: number, total: number) =>
    onProgress?.({ source: "engine", phase: "load", done, total });
  const opening = EngineClient.open(path, name, nativeModelOptions, stop, report);
  try {
    const file = loadNative().readModelFile(path);
    report(0, file.fileBytes);
    const tokenizer = createTokenizer(file.metadata);
    const tokenBytes = tokenizer.tokenBytes();
    return { file, tokenizer, tokenBytes, engine: await opening };
  } catch (error) {
    failed.abort();
    const opened = await opening.catch(() => null);
    await opened?.close();
    throw error;
  }
}

/**
 * Finds (downloads if need be), checks and opens a model: a path (a GGUF file, a safetensors file beside its
 * config.json, or a Hugging Face folder), a catalogue name ("smollm2-135m-instruct"), "hf:org/repo" or
 * "hf:org/repo/file.gguf". Errors: SOURCE_FAILED, IO, MODEL_FORMAT, MODEL_UNSUPPORTED, TOKENIZER_UNSUPPORTED, OUT_OF_MEMORY, DEVICE_UNAVAILABLE, OPTION_INVALID, NATIVE_LOAD; `options.signal` rejects with its reason.
 */
export async function loadModel(nameOrPath: string, options: LoadOptions = {}): Promise<Model> {
  const { signal, onProgress } = options;
  signal?.throwIfAborted();
  const checked = nativeOptions(options, loadNative());
  const limits = runLimits(options);
  const source = await resolveModel(nameOrPath, options);
  signal?.throwIfAborted();
  const { engine, file, tokenizer, tokenBytes } = await openParts(source, checked, options);
  try {
    requireSameVocabulary(tokenizer, engine.info(), source.path);
    engine.setVocabulary(tokenBytes.bytes, tokenBytes.offsets);
    onProgress?.({ source: "engine", phase: "ready", done: file.fileBytes, total: file.fileBytes });
    return new Model({ source, file, engine, tokenizer, tokenBytes, runs: new RunQueue(limits) });
  } catch (error) {
    await engine.close();
    throw error;
  }
}
