// SPDX-License-Identifier: Apache-2.0
// baton run: one run of a chain module. Outputs stream to standard output; figures go to standard error.

import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { IoError } from "../../errors.js";
import type { Chain, ChainRun, StageResult } from "../../index.js";
import { loadModel } from "../../model/model.js";
import { importChainModule, readInputs } from "../chain-module.js";
import type { Terminal } from "../terminal.js";
import { createProgress, formatBytes, formatTable, writeJson } from "../terminal.js";
import type { CliCommand, Context } from "./command.js";

interface Options {
  input: string[];
  json?: boolean;
  explain?: boolean;
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

/** Every stage under its name, its text as it comes. */
async function stream(run: ChainRun<string>, { stdout, stderr }: Terminal): Promise<void> {
  for await (const event of run) {
    if (event.type === "stage-start") stdout.write(`[${event.stage}]\n`);
    else if (event.type === "text-delta") stdout.write(event.text);
    else if (event.type === "stage-end") stdout.write("\n");
    else if (event.type === "warning") stderr.write(`warning: ${event.message}\n`);
  }
}

function usageTable(results: Readonly<Record<string, StageResult>>): string {
  const header = ["stage", "computed", "reused", "first token", "tokens", "tokens/s", "KV"];
  const rows = Object.entries(results).map(([stage, { usage }]) => [
    stage,
    `${usage.rowsComputed} rows`,
    `${usage.rowsReused} rows`,
    `${usage.timeToFirstTokenMs.toFixed(1)} ms`,
    String(usage.tokens),
    usage.tokensPerSecond.toFixed(1),
    formatBytes(usage.kvBytes),
  ]);
  return formatTable([header, ...rows]);
}

async function runChain(
  chain: Chain<string, string, string, string>,
  inputs: Record<string, string>,
  { json, explain }: Options,
  { terminal, signal }: Context,
): Promise<void> {
  if (explain === true) {
    const explanation = await chain.explain(inputs);
    const { layout, segments } = explanation;
    if (json === true) writeJson(terminal, { layout, segments });
    else terminal.stdout.write(`${explanation}\n`);
    return;
  }
  const run = chain.run(inputs, { signal });
  if (json === true) {
    writeJson(terminal, await run.result);
    return;
  }
  await stream(run, terminal);
  terminal.stderr.write(`${usageTable(await run.result)}\n`);
}

export const runCommand: CliCommand = {
  register(program, context) {
    const collect = (pair: string, all: string[]) => [...all, pair];
    program
      .command("run")
      .argument("<chain>", "module whose default export is { model, chain(model) }")
      .option(
        "-i, --input <name=text>",
        "an input; name=@file reads a file, name=@- standard input",
        collect,
        [],
      )
      .option("--explain", "show segments, frames and shifts instead of running")
      .option("--json", "print one JSON object when the run has ended")
      .description("run a chain once and stream what its stages write")
      .action(async (file: string, options: Options) => {
        const { terminal, signal, directory } = context;
        const inputs = await readInputs(options.input, inputReader(context));
        const module = await importChainModule(file, directory);
        const progress = createProgress(terminal);
        const onProgress = options.json === true ? {} : { onProgress: progress.report };
        const model = await loadModel(module.model, { ...module.options, ...onProgress, signal }).finally(
          progress.stop,
        );
        try {
          await runChain(await module.chain(model), inputs, options, context);
        } finally {
          await model.close();
        }
      });
  },
};
