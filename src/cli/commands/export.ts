// SPDX-License-Identifier: Apache-2.0
// baton export: the prompts of a training checkpoint, as `baton tune` would have left them had it ended there.

import { relative, resolve } from "node:path";
import { Option } from "commander";
import type { TuneExportOptions } from "../../index.js";
import { tune } from "../../index.js";
import { writeJson } from "../terminal.js";
import { curveFiles, nextCall, outcomeOf, writeCurves } from "../tune-result.js";
import type { CliCommand, Context } from "./command.js";

interface Options {
  output: string;
  keep?: NonNullable<TuneExportOptions["keep"]>;
  json?: boolean;
}

async function runExport(
  checkpoint: string,
  { output, keep, json }: Options,
  { terminal, directory }: Context,
): Promise<void> {
  const folder = resolve(directory, output);
  const options = { output: folder, ...(keep === undefined ? {} : { keep }) };
  const result = await tune.export(resolve(directory, checkpoint), options);
  await writeCurves(folder, result);
  const { step, evaluations, finished } = result;
  const folders = Object.entries(result.prompts).map(([stage, one]) => [stage, one.folder ?? ""] as const);
  const curves = curveFiles(folder);
  if (json === true) {
    const steps = result.steps.length;
    const prompts = Object.fromEntries(folders);
    writeJson(terminal, { prompts, step, steps, finished, evaluations, curves });
    return;
  }
  terminal.stderr.write(`${outcomeOf(step, evaluations)}\n`);
  for (const path of [...folders.map(([, path]) => path), ...curves]) terminal.stdout.write(`${path}\n`);
  const own = folders.map(([stage, path]) => [stage, relative(directory, path)] as const);
  terminal.stderr.write(`to run with it: ${nextCall("CHAIN", [], own)}\n`);
}

export const exportCommand: CliCommand = {
  register(program, context) {
    program
      .command("export")
      .argument("<checkpoint>", "a training checkpoint; its run may have been stopped, or still go on")
      .requiredOption("-o, --output <folder>", "where the prompt goes; of several a folder for each in it")
      .addOption(
        new Option(
          "--keep <which>",
          "the rows of the lowest dev loss, or the last (default: best, once dev data were evaluated)",
        ).choices(["best", "last"]),
      )
      .option("--json", "print one JSON object")
      .description("write the prompts of a training checkpoint, without the model or the data")
      .action((checkpoint: string, options: Options) => runExport(checkpoint, options, context));
  },
};
