// SPDX-License-Identifier: Apache-2.0
// What the commands on a chain share: their inputs, and a model that is closed when they end.

import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Command } from "commander";
import { IoError } from "../errors.js";
import type { Chain } from "../index.js";
import { loadModel } from "../model/model.js";
import { openChain, readInputs } from "./chain-module.js";
import type { Context } from "./commands/command.js";
import { createProgress } from "./terminal.js";

export interface ChainCommandOptions {
  input: string[];
  functions?: string;
  json?: boolean;
}

export function chainCommand(program: Command, name: string): Command {
  const collect = (pair: string, all: string[]) => [...all, pair];
  const inputs = "an input; name=@file reads a file, name=@- standard input";
  return program
    .command(name)
    .argument("<chain>", "module whose default export is { model, chain(model) }, or a document (.json)")
    .option("-i, --input <name=text>", inputs, collect, [])
    .option("--functions <file>", "module that exports the functions which a document names");
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

/** Loads the chain's model, builds the chain, and closes the model when `use` has ended. */
export async function withChain(
  file: string,
  { input, functions, json }: ChainCommandOptions,
  context: Context,
  use: (chain: Chain<string, string, string, string>, inputs: Record<string, string>) => Promise<void>,
): Promise<void> {
  const { terminal, signal, directory } = context;
  const inputs = await readInputs(input, inputReader(context));
  const module = await openChain(file, directory, functions);
  const progress = createProgress(terminal);
  const onProgress = json === true ? {} : { onProgress: progress.report };
  const model = await loadModel(module.model, { ...module.options, ...onProgress, signal }).finally(
    progress.stop,
  );
  try {
    await use(await module.chain(model), inputs);
  } finally {
    await model.close();
  }
}
