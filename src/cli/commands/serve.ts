// SPDX-License-Identifier: Apache-2.0
// baton serve: models and chains behind OpenAI's API, until Ctrl-C or SIGTERM; then what is in progress is finished first.

import { readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import type { Command } from "commander";
import type { LoadOptions, Model } from "../../index.js";
import { IoError, loadModel, OptionInvalidError } from "../../index.js";
import type { Device } from "../../native/types.js";
import type { ChainSource, ServerOptions } from "../../serve/index.js";
import { addDeviceOption, diskTier } from "../chain-command.js";
import { openChain } from "../chain-module.js";
import { UsageError } from "../exit-codes.js";
import { createProgress } from "../progress.js";
import { logTo } from "../serve-log.js";
import type { CliCommand, Context } from "./command.js";

interface ServeOptions {
  model: string[];
  functions?: string;
  prompts?: string;
  host: string;
  port: number;
  open?: boolean;
  keys?: string;
  cors: string[];
  device?: Device;
  cacheFolder?: string;
  maxConcurrent?: number;
  maxQueued?: number;
  maxTokens?: number;
  maxBody?: number;
  drain: number;
  quiet?: boolean;
  json?: boolean;
}

/** "name=value", or a value that has a name of its own. */
function named(text: string, nameOf: (value: string) => string): [name: string, value: string] {
  const at = text.indexOf("=");
  return at < 1 ? [nameOf(text), text] : [text.slice(0, at), text.slice(at + 1)];
}

/** A path's last part without what says its format; other names as they are. */
const shortName = (text: string) =>
  /^hf:/.test(text) ? text : basename(text).replace(/\.(gguf|safetensors|json|mjs|cjs|js)$/, "");

/** Models by the name that they are loaded by, each once. */
class Loads {
  readonly #loads = new Map<string, { name: string; options: LoadOptions }>();

  /** Throws UsageError where one model would have to be loaded in two ways, or two have one name. */
  add(name: string, model: string, options: LoadOptions): void {
    const found = this.#loads.get(model);
    if (found !== undefined) {
      if (JSON.stringify(found.options) === JSON.stringify(options)) return;
      throw new UsageError(
        `The model ${model} is asked for with different options. Give all of them the same.`,
      );
    }
    if ([...this.#loads.values()].some((one) => one.name === name))
      throw new UsageError(`Two models would be served as ${name}. Name one: --model other=${model}.`);
    this.#loads.set(model, { name, options });
  }

  has(model: string): boolean {
    return this.#loads.has(model);
  }

  entries(): [model: string, load: { name: string; options: LoadOptions }][] {
    return [...this.#loads];
  }
}

async function keysOf(file: string | undefined, directory: string): Promise<string[]> {
  const fromEnvironment = (process.env.BATON_API_KEYS ?? "").split(/[\s,]+/).filter((key) => key !== "");
  if (file === undefined) return fromEnvironment;
  const { keysOfText } = await import("../../serve/index.js");
  const path = resolve(directory, file);
  try {
    const keys = keysOfText(await readFile(path, "utf8"));
    if (keys.length > 0) return [...fromEnvironment, ...keys];
  } catch (cause) {
    throw new IoError(
      `Cannot read the keys in ${path}: ${(cause as Error).message}. Give a file with one key a line.`,
      {
        facts: { path },
        cause,
      },
    );
  }
  throw new OptionInvalidError(`${path} has no key. Write one a line.`, { facts: { option: "keys", path } });
}

/** Loads the chain of `file` over the model that it had at the start. */
function sourceOf(
  file: string,
  model: Model,
  named: string,
  options: ServeOptions,
  directory: string,
): ChainSource {
  return {
    async load() {
      const module = await openChain(file, directory, options.functions);
      if (module.model !== named)
        throw new UsageError(
          `The chain now asks for the model ${module.model}. Restart the server for another model.`,
        );
      const chain = await module.chain(model);
      return { chain, files: module.files };
    },
  };
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

const without = <T extends object>(options: T): T =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;

/** One folder is one model's. */
const folderOf = (folder: string | undefined, model: string) =>
  folder === undefined ? undefined : join(folder, encodeURIComponent(model));

interface Opened {
  models: Record<string, Model>;
  chains: Record<string, ChainSource>;
}

/** Models that were opened are in `models` also when it rejects. */
async function openAll(
  files: readonly string[],
  options: ServeOptions,
  context: Context,
  opened: Opened,
): Promise<void> {
  const { directory, signal, terminal } = context;
  const loads = new Loads();
  for (const text of options.model) {
    const [name, model] = named(text, shortName);
    loads.add(name, model, {});
  }
  const chains: { name: string; file: string; model: string }[] = [];
  for (const text of files) {
    const [name, file] = named(text, shortName);
    const module = await openChain(file, directory, options.functions);
    const isNamed = loads.has(module.model) && Object.keys(module.options).length === 0;
    if (!isNamed) loads.add(shortName(module.model), module.model, module.options);
    if (chains.some((one) => one.name === name))
      throw new UsageError(`Two chains would be served as ${name}. Name one: other=${file}.`);
    chains.push({ name, file, model: module.model });
  }
  const byModel = new Map<string, Model>();
  for (const [model, load] of loads.entries()) {
    const progress = createProgress(terminal, { quiet: options.quiet === true || options.json === true });
    const device = options.device === undefined ? {} : { device: options.device };
    const tier = diskTier(folderOf(options.cacheFolder, load.name), directory);
    const how = { ...tier, ...load.options, ...device, onProgress: progress.report, signal };
    const loaded = await loadModel(model, how).finally(progress.stop);
    opened.models[load.name] = loaded;
    byModel.set(model, loaded);
  }
  for (const { name, file, model } of chains)
    opened.chains[name] = sourceOf(file, byModel.get(model) as Model, model, options, directory);
}

async function serve(files: readonly string[], options: ServeOptions, context: Context): Promise<void> {
  const { terminal, signal, directory } = context;
  if (files.length + options.model.length === 0)
    throw new UsageError("There is nothing to serve. Name chain files, or models by --model.");
  const keys = await keysOf(options.keys, directory);
  const opened: Opened = { models: {}, chains: {} };
  try {
    await openAll(files, options, context, opened);
    const { createServer } = await import("../../serve/index.js");
    const log = logTo(terminal, { quiet: options.quiet === true, json: options.json === true });
    const settings: ServerOptions = without({
      ...{ ...opened, keys, cors: options.cors },
      prompts: options.prompts === undefined ? undefined : resolve(directory, options.prompts),
      maxConcurrent: options.maxConcurrent,
      maxQueued: options.maxQueued,
      defaultMaxTokens: options.maxTokens,
      maxBodyBytes: options.maxBody,
      log,
    }) as ServerOptions;
    const server = await createServer(settings);
    try {
      const { url } = await server.listen({
        host: options.host,
        port: options.port,
        open: options.open === true,
      });
      const models = Object.keys(opened.models);
      const chains = Object.keys(opened.chains);
      const names = [...models, ...chains.map((name) => `chain:${name}`)];
      const begun =
        options.json === true ? JSON.stringify({ url, models, chains }) : `${names.join(", ")} at ${url}/v1`;
      terminal.stdout.write(`${begun}\n`);
      await untilAborted(signal);
      log({ event: "note", message: "draining; once more to stop at once" });
    } finally {
      await server.close({ limitMs: options.drain * 1000 });
    }
  } finally {
    await Promise.all(Object.values(opened.models).map((model) => model.close()));
  }
}

const collect = (value: string, all: string[]) => [...all, value];

function count(value: string): number {
  if (/^[0-9]{1,10}$/.test(value)) return Number(value);
  throw new UsageError(`${JSON.stringify(value)} is no whole number.`);
}

function addOptions(command: Command): Command {
  return addDeviceOption(command)
    .option(
      "-m, --model <name>",
      "a model to serve without a chain, or served=name; may be given again",
      collect,
      [],
    )
    .option("--functions <file>", "module that exports the functions which documents name")
    .option("--prompts <folder>", "prompts that requests may name: PEFT folders below it")
    .option("--cache-folder <folder>", "keep KV there, at most 1 GiB for each model, also for later servers")
    .option("--host <address>", "where to listen; others than loopback addresses need keys", "127.0.0.1")
    .option("--port <number>", "0 takes any that is free", count, 8080)
    .option("--keys <file>", "API keys, one a line; also those of BATON_API_KEYS, with commas between them")
    .option("--open", "serve everybody who reaches the address, without keys")
    .option(
      "--cors <origin>",
      "a web page's origin that may use the server, or *; may be given again",
      collect,
      [],
    )
    .option("--max-concurrent <count>", "requests that compute at once (default: 32)", count)
    .option("--max-queued <count>", "requests that wait for that; one more gets 429 (default: 256)", count)
    .option("--max-tokens <count>", "tokens of an output whose request does not say (default: 512)", count)
    .option("--max-body <bytes>", "of a request (default: 1048576)", count)
    .option("--drain <seconds>", "what requests in progress are given at the end", count, 30)
    .option("-q, --quiet", "no line for each request")
    .option("--json", "address and names as a JSON object, then a JSON object for each line of the log");
}

export const serveCommand: CliCommand = {
  register(program, context) {
    const chains = "chain modules or documents (.json), or name=file; served by the name of the file";
    addOptions(program.command("serve").argument("[chains...]", chains))
      .description("serve chains and their models behind OpenAI's API")
      .action((files: string[], options: ServeOptions) => serve(files, options, context));
  },
};
