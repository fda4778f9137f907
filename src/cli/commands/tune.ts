// SPDX-License-Identifier: Apache-2.0
// baton tune: trains the prompts of some stages of a chain. Steps show on standard error; what was made is left in the
// output folder: the prompt as PEFT has it, its contract, the loss curves as SVG and JSON lines, the checkpoint.

import { existsSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import type { Command } from "commander";
import { Option } from "commander";
import type { Chain, TuneOptions, TuneResult } from "../../index.js";
import { tune } from "../../index.js";
import type { Device } from "../../native/types.js";
import type { PromptInit } from "../../tune/methods/index.js";
import { scheduleNames } from "../../tune/schedule.js";
import { addDeviceOption, addPromptOption, withChain } from "../chain-command.js";
import { UsageError } from "../exit-codes.js";
import { writeJson } from "../terminal.js";
import { createTuneProgress } from "../tune-progress.js";
import { curveFiles, nextCall, outcomeOf, writeCurves } from "../tune-result.js";
import type { CliCommand, Context } from "./command.js";

interface Options {
  stage: string[];
  label?: string[];
  data: string;
  dev?: string;
  output?: string;
  field: string[];
  init: string[];
  virtualTokens?: number;
  score?: "squad";
  checkpoint: string | boolean;
  explain?: boolean;
  json?: boolean;
  quiet?: boolean;
  functions?: string;
  device?: Device;
  prompt?: string[];
  frozenFolder?: string;
  frozenDisk: boolean;
  baseModel?: string;
  shuffle: boolean;
  maxGradientNorm?: number | null;
  [name: string]: unknown;
}

/** Options that go to tune() as they are. */
const passed = [
  "epochs",
  "batchSize",
  "accumulation",
  "learningRate",
  "schedule",
  "warmup",
  "epsilon",
  "weightDecay",
  "maxGradientNorm",
  "seed",
  "shuffle",
  "evaluateEvery",
  "patience",
  "keep",
  "checkpointEvery",
  "resume",
  "score",
  "scoreFrom",
  "baseModel",
  "frozenBytes",
  "frozenDiskBytes",
  "activationBytes",
] as const;

const collect = (value: string, all: string[] = []): string[] => [...all, value];

function numberOf(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && !Number.isNaN(value)) return value;
  throw new UsageError(`${JSON.stringify(text)} is not a number.`);
}

const normOf = (text: string): number | null => (text === "none" ? null : numberOf(text));

function betasOf(text: string): [number, number] {
  const [first, second, ...rest] = text.split(",").map(numberOf);
  if (first !== undefined && second !== undefined && rest.length === 0) return [first, second];
  throw new UsageError(`--betas ${JSON.stringify(text)} is not of the form 0.9,0.999.`);
}

function addDataOptions(command: Command): Command {
  return command
    .argument("<chain>", "module whose default export is { model, chain(model) }, or a document (.json)")
    .requiredOption("-s, --stage <name>", "a stage to train; several are trained together", collect)
    .requiredOption("-d, --data <file>", "training data: JSON lines with inputs and gold outputs by name")
    .option("--dev <file>", "data to evaluate on")
    .option("-o, --output <folder>", "where the prompt goes; with several stages a folder for each in it")
    .option("--label <stage>", "a stage whose output is scored; default: those that are trained", collect)
    .option("--field <data=chain>", "a name in the data and what the chain calls it", collect, [])
    .option("--functions <file>", "module that exports the functions which a document names");
}

/** How each prompt begins, and which prompts stay. */
function addPromptOptions(command: Command): Command {
  const init =
    'what the rows begin as: "vocabulary", "random", "text:..." or a prompt\'s folder; stage=... for one stage';
  return addPromptOption(command)
    .option("--virtual-tokens <n>", "rows of a prompt (default: 50)", numberOf)
    .option("--init <how>", init, collect, [])
    .option("--base-model <name>", "name of the base model in the files of PEFT");
}

function addTrainOptions(command: Command): Command {
  return command
    .option("--epochs <n>", "passes over the data (default: 3)", numberOf)
    .option("--batch-size <n>", "items computed at once (default: 8)", numberOf)
    .option("--accumulation <n>", "batches that make one step (default: 1)", numberOf)
    .option("--learning-rate <rate>", "highest learning rate (default: 0.01)", numberOf)
    .addOption(new Option("--schedule <name>", "what it does after the warm-up").choices(scheduleNames))
    .option("--warmup <n>", "share of the steps, or steps from 1 on (default: 0.03)", numberOf)
    .option("--betas <a,b>", "AdamW's (default: 0.9,0.999)", betasOf)
    .option("--epsilon <n>", "AdamW's (default: 1e-8)", numberOf)
    .option("--weight-decay <n>", "AdamW's (default: 0)", numberOf)
    .option("--max-gradient-norm <n>", 'clip longer gradients, or "none" (default: 1)', normOf)
    .option("--seed <n>", "of the order of items and of random rows (default: 0)", numberOf)
    .option("--no-shuffle", "take the items as they come")
    .option("--evaluate-every <steps>", "evaluate on --dev within epochs, too", numberOf)
    .option("--patience <n>", "stop after so many evaluations without a lower dev loss", numberOf)
    .addOption(new Option("--keep <which>", "the rows that are kept").choices(["best", "last"]))
    .addOption(new Option("--score <how>", "score outputs generated for --dev").choices(["squad"]))
    .addOption(
      new Option(
        "--score-from <what>",
        "what scored stages read: what the chain wrote, or gold texts",
      ).choices(["chain", "gold"]),
    );
}

function addRunOptions(command: Command): Command {
  return addDeviceOption(command)
    .option(
      "--checkpoint <file>",
      "where checkpoints go (default: checkpoint.safetensors in the output folder)",
    )
    .option("--no-checkpoint", "write none")
    .option("--checkpoint-every <steps>", "steps from one checkpoint to the next (default: 50)", numberOf)
    .option("--resume", "go on from the checkpoint if there is one")
    .option("--frozen-bytes <n>", "most bytes of frozen KV kept in memory (default: half the pool)", numberOf)
    .option("--frozen-folder <folder>", "where frozen KV is kept besides (default: in Baton's cache folder)")
    .option("--frozen-disk-bytes <n>", "most bytes of files in it (default: 8 GiB)", numberOf)
    .option("--no-frozen-disk", "keep frozen KV in memory only")
    .option("--activation-bytes <n>", "most bytes of activations in a step", numberOf)
    .option("-q, --quiet", "no progress: evaluations, warnings and the outcome alone")
    .option("--explain", "print what would be computed, and do not train")
    .option("--json", "print one JSON object when the run has ended");
}

function initOf(text: string): PromptInit {
  if (text === "vocabulary" || text === "random") return text;
  return text.startsWith("text:") ? { text: text.slice("text:".length) } : { checkpoint: text };
}

/** Names of the stages with how each begins. */
function stagesOf({ stage, init, virtualTokens }: Options, directory: string): TuneOptions["stages"] {
  const resolved = (one: PromptInit): PromptInit =>
    typeof one === "object" && "checkpoint" in one ? { checkpoint: resolve(directory, one.checkpoint) } : one;
  const forAll: PromptInit[] = [];
  const own = new Map<string, PromptInit>();
  for (const text of init) {
    const at = text.indexOf("=");
    const name = text.slice(0, Math.max(0, at));
    if (stage.includes(name)) own.set(name, resolved(initOf(text.slice(at + 1))));
    else forAll.push(resolved(initOf(text)));
  }
  if (forAll.length > 1)
    throw new UsageError("--init is given twice for all stages. Write --init stage=... for one.");
  const rows = virtualTokens === undefined ? {} : { virtualTokens };
  return Object.fromEntries(
    stage.map((name) => {
      const begin = own.get(name) ?? forAll[0];
      return [name, { ...rows, ...(begin === undefined ? {} : { init: begin }) }];
    }),
  );
}

function fieldsOf({ field }: Options): Record<string, string> {
  return Object.fromEntries(
    field.map((pair) => {
      const at = pair.indexOf("=");
      if (at < 1) throw new UsageError(`--field ${JSON.stringify(pair)} is not of the form data=chain.`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

function frozenFolderOf({ frozenFolder, frozenDisk }: Options, directory: string): Partial<TuneOptions> {
  if (!frozenDisk) return { frozenFolder: null };
  return frozenFolder === undefined ? {} : { frozenFolder: resolve(directory, frozenFolder) };
}

/** Throws UsageError for what the options of a call cannot be together. */
function tuneOptions(options: Options, { directory, signal }: Context): TuneOptions {
  const { output, checkpoint, data, dev, label, explain } = options;
  if (output === undefined && explain !== true)
    throw new UsageError("--output is missing: say where the prompt goes.");
  const folder = output === undefined ? undefined : resolve(directory, output);
  const named = typeof checkpoint === "string" ? resolve(directory, checkpoint) : null;
  const file =
    named ?? (checkpoint === false || folder === undefined ? null : join(folder, "checkpoint.safetensors"));
  const rest = passed.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]]));
  return {
    ...(Object.fromEntries(rest) as Partial<TuneOptions>),
    ...(options.betas === undefined ? {} : { betas: options.betas as [number, number] }),
    stages: stagesOf(options, directory),
    ...(label === undefined ? {} : { labels: label }),
    data: resolve(directory, data),
    ...(dev === undefined ? {} : { dev: resolve(directory, dev) }),
    fields: fieldsOf(options),
    ...frozenFolderOf(options, directory),
    ...(folder === undefined ? {} : { output: folder }),
    checkpoint: file,
    signal,
  };
}

type AnyChain = Chain<string, string, string, string>;

function report(result: TuneResult, file: string, options: Options, { terminal, directory }: Context): void {
  const { prompts, step, stopped, evaluations, resumedFrom } = result;
  const folders = Object.entries(prompts).map(([stage, one]) => [stage, one.folder ?? ""] as const);
  const curves = curveFiles(resolve(directory, options.output ?? ""));
  if (options.json === true) {
    const written = Object.fromEntries(folders);
    writeJson(terminal, { prompts: written, step, stopped, resumedFrom, evaluations, curves });
    return;
  }
  const early = stopped === "patience" ? "stopped early; " : "";
  terminal.stderr.write(`${early}${outcomeOf(step, evaluations)}\n`);
  for (const path of [...folders.map(([, path]) => path), ...curves]) terminal.stdout.write(`${path}\n`);
  const own = folders.map(([stage, path]) => [stage, relative(directory, path)] as const);
  terminal.stderr.write(`to run with it: ${nextCall(file, options.prompt ?? [], own)}\n`);
}

async function runTune(chain: AnyChain, file: string, options: Options, context: Context): Promise<void> {
  const { terminal, signal } = context;
  const given = tuneOptions(options, context);
  if (options.explain === true) {
    const { checkpoint: _, resume: __, ...plain } = given;
    const explanation = await tune.explain(chain, plain);
    if (options.json === true) writeJson(terminal, explanation);
    else terminal.stdout.write(`${explanation}\n`);
    return;
  }
  const progress = createTuneProgress(terminal, options.quiet === true);
  const onWarning = (message: string) => progress.note(`warning: ${message}`);
  const run = tune(chain, { ...given, onWarning, onProgress: progress.evaluating });
  try {
    for await (const step of run) progress.report(step);
  } finally {
    progress.stop();
    if (signal.aborted && given.checkpoint && existsSync(given.checkpoint)) {
      const file = given.checkpoint;
      terminal.stderr.write(
        `What is done is kept in ${file}; --resume goes on from it, \`baton export\` takes its prompts out.\n`,
      );
    }
  }
  const result = await run.result;
  await writeCurves(given.output as string, result);
  report(result, file, options, context);
}

export const tuneCommand: CliCommand = {
  register(program, context) {
    const command = program.command("tune");
    for (const add of [addDataOptions, addPromptOptions, addTrainOptions, addRunOptions]) add(command);
    command
      .description("train the prompts of stages on data; the base model stays as it is")
      .action(async (file: string, options: Options) => {
        tuneOptions(options, context); // a wrong call is known before the model is loaded
        const { functions, json, prompt, device, quiet } = options;
        const rest = {
          ...(prompt === undefined ? {} : { prompt }),
          ...(functions === undefined ? {} : { functions }),
          ...(json === undefined ? {} : { json }),
          ...(quiet === undefined ? {} : { quiet }),
          ...(device === undefined ? {} : { device }),
        };
        const load = { batchInvariant: true }; // a run that goes on has the same losses, bit for bit
        await withChain(file, { input: [], load, ...rest }, context, (chain) =>
          runTune(chain, file, options, context),
        );
      });
  },
};
