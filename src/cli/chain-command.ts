// SPDX-License-Identifier: Apache-2.0
// What the commands on a chain share: their inputs, and a model that is closed when they end.

import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import { IoError } from "../errors.js";
import type { Chain, LoadOptions } from "../index.js";
import { loadModel } from "../model/model.js";
import type { PromptSource } from "../model/prompt.js";
import type { Device } from "../native/types.js";
import { openChain, readInputs } from "./chain-module.js";
import type { Context } from "./commands/command.js";
import { UsageError } from "./exit-codes.js";
import type { ProgressView } from "./progress.js";
import { createProgress } from "./progress.js";

export interface ChainCommandOptions {
  input: string[];
  /** "stage=folder" or "stage=text:..." */
  prompt?: string[];
  functions?: string;
  json?: boolean;
  quiet?: boolean;
  /** On what the model runs, whatever the chain says. */
  device?: Device;
  /** How the model is loaded where the chain does not say. */
  load?: LoadOptions;
}

const collect = (pair: string, all: string[] = []) => [...all, pair];

/** Adds --prompt to a command on a chain. */
export function addPromptOption(command: Command): Command {
  const what = "a stage and the folder of its prompt, in place of the chain's own; or stage=text:...";
  return command.option("-p, --prompt <stage=folder>", what, collect);
}

/** Adds --device to a command that opens a model. */
export function addDeviceOption(command: Command): Command {
  return command.option(
    "--device <name>",
    'what the model runs on: auto, cpu, cuda or one like cuda:1 (default: what the chain says, or "auto")',
  );
}

/** Adds --quiet to a command that shows how far it is. */
export function addQuietOption(command: Command): Command {
  return command.option("-q, --quiet", "the result alone, no progress");
}

export function chainCommand(program: Command, name: string): Command {
  const inputs = "an input; name=@file reads a file, name=@- standard input";
  const command = program
    .command(name)
    .argument("<chain>", "module whose default export is { model, chain(model) }, or a document (.json)")
    .option("-i, --input <name=text>", inputs, collect, []);
  return addQuietOption(addDeviceOption(addPromptOption(command))).option(
    "--functions <file>",
    "module that exports the functions which a document names",
  );
}

/** Throws UsageError for what is not of the form. */
function readPrompts(pairs: readonly string[], directory: string): Record<string, PromptSource> {
  const prompts: Record<string, PromptSource> = {};
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    const [stage, value] = [pair.slice(0, Math.max(0, at)), pair.slice(at + 1)];
    if (stage === "" || value === "") {
      throw new UsageError(
        `--prompt ${JSON.stringify(pair)} is not of the form stage=folder or stage=text:...`,
      );
    }
    if (Object.hasOwn(prompts, stage))
      throw new UsageError(`--prompt ${stage} is given twice. Give it once.`);
    const text = value.startsWith("text:") ? value.slice("text:".length) : null;
    prompts[stage] = text === null ? resolve(directory, value) : { text };
  }
  return prompts;
}

function inputReader({ directory, stdin }: Context): (path: string) => Promise<string> {
  return async (path) => {
    if (path === "-") {
      const parts: string[] = [];
      for await (const part of stdin) parts.push(part.toString());
      return parts.join("");
    }
    const file = resolve(directory, path);
    try {
      return await readFile(file, "utf8");
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new IoError(
        `Cannot read the input file ${file}: ${reason}. Give a readable file or the text itself.`,
        {
          facts: { path: file },
          cause,
        },
      );
    }
  };
}

/** What KV may take on disk; the least recently used goes first. */
const cacheBytes = 1 << 30;

/** With a folder, what an earlier process has computed is read back where that is faster. */
export function diskTier(folder: string | undefined, directory: string): LoadOptions {
  if (folder === undefined) return {};
  return { tiers: { disk: { folder: resolve(directory, folder), bytes: cacheBytes } } };
}

/** Loads the chain's model, builds the chain, and closes the model when `use` has ended. */
export async function withChain(
  file: string,
  { input, prompt = [], functions, json, quiet, device, load = {} }: ChainCommandOptions,
  context: Context,
  use: (
    chain: Chain<string, string, string, string>,
    inputs: Record<string, string>,
    progress: ProgressView,
  ) => Promise<void>,
): Promise<void> {
  const { terminal, signal, directory } = context;
  const prompts = readPrompts(prompt, directory);
  const inputs = await readInputs(input, inputReader(context));
  const module = await openChain(file, directory, functions);
  const progress = createProgress(terminal, { quiet: quiet === true || json === true });
  const model = await loadModel(module.model, {
    ...load,
    ...module.options,
    ...(device === undefined ? {} : { device }),
    onProgress: progress.report,
    signal,
  }).finally(progress.stop);
  try {
    const chain = await module.chain(model);
    await use(prompt.length === 0 ? chain : chain.withPrompts(prompts), inputs, progress);
  } finally {
    progress.stop();
    await model.close();
  }
}
