// SPDX-License-Identifier: Apache-2.0
// From a chain, some of its stages and data to what a training run works on: a task, its items and the first values.
// Everything that can be wrong with them is found here, before the first step.

import { createHash } from "node:crypto";
import type { Chain } from "../chain/chain.js";
import type { SiteOf } from "../chain/chain-types.js";
import type { ChainDefinition } from "../chain/definition.js";
import { sitesOf } from "../chain/names.js";
import type { StageSettings } from "../chain/options.js";
import { planChain } from "../chain/plan.js";
import { DataInvalidError, OptionInvalidError } from "../errors.js";
import { loadNative } from "../native/load.js";
import { didYouMean } from "../suggest.js";
import { ChainTask } from "./chain-task.js";
import type { DataItem, DataSet, DataSource, RecordReader } from "./data.js";
import { openData } from "./data.js";
import type { TuningExplanation } from "./explain.js";
import { TuningTally } from "./explain.js";
import { bytesOption, diskOf } from "./frozen-place.js";
import type { MethodName, PromptTuning } from "./methods/index.js";
import { methodNames, methods } from "./methods/index.js";
import { kindsOf } from "./plan.js";
import { Random, randomState } from "./random.js";
import type { FieldNames } from "./record.js";
import { checkFields, readRecord, typeOf } from "./record.js";

/** How one stage is tuned. */
export interface StageTuning extends PromptTuning {
  /** Default "prompt". */
  method?: MethodName;
}

/** Names of the stages of a chain; those in groups behind the names of the groups: "debate.reason". */
export type StageSite<C> =
  C extends Chain<infer _S, infer Stages, infer _G, infer _I, infer _R, infer Nested, infer _O>
    ? Stages | SiteOf<Nested>
    : never;

export interface TuningOptions<Site extends string = string> {
  /** Stages whose prompts are trained, together: names, or names with how each is. Others stay as they are. */
  stages: readonly Site[] | { readonly [S in Site]?: StageTuning };
  /** Stages whose outputs are scored; default: those that are trained. */
  labels?: readonly Site[];
  /** JSONL file or records: inputs by name, and the gold text of each output that is scored or read. */
  data: DataSource;
  /** The same, for evaluations; they are never learned from. */
  dev?: DataSource;
  /** Names of the data -> names of the chain, where they differ. */
  fields?: FieldNames;
  /** Of random initial rows; 32 bits, default 0. */
  seed?: number;
  /** Most bytes of frozen KV kept from step to step, in the model's pool; default: half of it. */
  frozenBytes?: number;
  /**
   * Folder in which frozen KV is kept besides, to be found again by later epochs and runs; null: none. Default:
   * $BATON_FROZEN_FOLDER ("off": none), else "frozen-kv" beside the models that were fetched.
   */
  frozenFolder?: string | null;
  /** Most bytes of files in it; default: 8 GiB, or a quarter of what is free if that is less. */
  frozenDiskBytes?: number;
  /** What should be known and ends nothing; default: a process warning. */
  onWarning?: (message: string) => void;
  /** Most bytes of activations in a step; default: a quarter of the free memory, from 64 MiB to 1 GiB. */
  activationBytes?: number;
  signal?: AbortSignal;
}

export interface Tuning {
  task: ChainTask;
  items: readonly DataItem[];
  dev: readonly DataItem[];
  /** By parameter [rows, hidden]. */
  initial: Float32Array[];
  /** What a run depends on besides its settings: base, chain, data. */
  identity: Readonly<Record<string, string>>;
  /** Prompts that stay as they are and are used otherwise than they were trained. */
  warnings: readonly string[];
  /** What the training data will cost. */
  explain(batchSize: number): TuningExplanation;
}

const mebibyte = 2 ** 20;

/** Throws OPTION_INVALID, DATA_INVALID, CONTEXT_LIMIT, CHAIN_INVALID, PROMPT_INVALID, IO; the signal's reason. */
export async function openTuning(definition: ChainDefinition, options: TuningOptions): Promise<Tuning> {
  const { model, steps } = definition;
  const { data, dev, fields = {}, signal } = options;
  signal?.throwIfAborted();
  const stages = checkStages(definition, options);
  const labelled = new Set(options.labels === undefined ? stages.keys() : checkLabels(steps, options.labels));
  checkReach(definition, new Set(stages.keys()), labelled);
  checkFields(steps, fields);
  const frozenBytes = bytesOption("frozenBytes", options.frozenBytes) ?? model.stats().budgetBytes / 2;
  const activationBytes = bytesOption("activationBytes", options.activationBytes) ?? defaultActivations();
  const initial = await initialise(definition, stages, options.seed ?? 0);
  const trained = new Map([...stages.keys()].map((site, at) => [site, initial[at]?.rows ?? 0]));
  const task = await ChainTask.create({
    definition,
    trained,
    labelled,
    frozenBytes,
    disk: await diskOf(options),
    activationBytes,
  });
  const rowsOfPrompt = (site: string) => task.promptRows(site);
  const tally = new TuningTally(model.info, rowsOfPrompt);
  const items = await openData(data, "data", readerOf(task, fields, tally), signal);
  checkTouched(task, tally, items);
  const devTally = new TuningTally(model.info, rowsOfPrompt);
  const devItems =
    dev === undefined ? null : await openData(dev, "dev", readerOf(task, fields, devTally), signal);
  return {
    task,
    items: items.items,
    dev: devItems?.items ?? [],
    initial: initial.map((one) => one.values),
    identity: {
      model: model.info.contentHash,
      weightType: model.info.weightType,
      chain: task.hash,
      data: items.hash,
      dev: devItems?.hash ?? "none",
    },
    warnings: task.warnings(),
    explain: (batchSize) => tally.explain(task.parameters, batchSize, frozenBytes),
  };
}

function readerOf(task: ChainTask, fields: FieldNames, tally: TuningTally): RecordReader {
  return {
    parse: (record, origin) => readRecord(task.definition.steps, record, fields, origin),
    check: (values, origin) => tally.add(task.assemble(values, origin)),
  };
}

// ---- options

function settingsBySite({ steps }: ChainDefinition): Map<string, StageSettings> {
  const found = new Map<string, StageSettings>();
  for (const { step, site } of sitesOf(steps))
    if (step.settings !== undefined) found.set(site, step.settings);
  return found;
}

function unknownStage(option: string, value: unknown, known: readonly string[]): OptionInvalidError {
  return new OptionInvalidError(
    `\`${option}\` names ${JSON.stringify(value)}, which is no stage of the chain. Its stages are ` +
      `${known.map((one) => `"${one}"`).join(", ") || "none"}.${didYouMean(value, known)}`,
    { facts: { option, value: String(value), available: known } },
  );
}

/** Options of every stage to tune, by site, in the order in which the chain declares them. */
function checkStages(definition: ChainDefinition, { stages }: TuningOptions): Map<string, StageTuning> {
  const known = [...settingsBySite(definition).keys()];
  if (typeof stages !== "object" || stages === null) {
    throw new OptionInvalidError(
      `\`stages\` is of type ${typeOf(stages)}, which must be a list of stages, or an object { stage: options }.`,
      { facts: { option: "stages", value: typeOf(stages), available: known } },
    );
  }
  const given = Array.isArray(stages)
    ? (stages as readonly string[]).map((site): [string, StageTuning] => [site, {}])
    : Object.entries(stages as Readonly<Record<string, StageTuning | undefined>>).flatMap(
        ([site, options]): [string, StageTuning][] => (options === undefined ? [] : [[site, options]]),
      );
  const bySite = new Map(given);
  for (const site of bySite.keys()) if (!known.includes(site)) throw unknownStage("stages", site, known);
  if (bySite.size === 0) {
    throw new OptionInvalidError(`\`stages\` names no stage to tune. Name some of ${known.join(", ")}.`, {
      facts: { option: "stages", value: "", available: known },
    });
  }
  for (const [site, options] of bySite) checkStageTuning(site, options);
  return new Map(known.flatMap((site) => (bySite.has(site) ? [[site, bySite.get(site) ?? {}]] : [])));
}

function checkStageTuning(site: string, options: StageTuning): void {
  if (typeof options !== "object" || options === null) {
    throw new OptionInvalidError(
      `Stage "${site}" is to be tuned with ${String(options)}, which must be an object of options.`,
      { facts: { step: site, option: "stages", value: String(options) } },
    );
  }
  const { method = "prompt" } = options;
  if (!methodNames.includes(method)) {
    throw new OptionInvalidError(
      `Stage "${site}" is to be tuned by the method ${JSON.stringify(method)}. There are: ${methodNames.join(", ")}.${didYouMean(method, methodNames)}`,
      { facts: { step: site, option: "method", value: String(method), available: methodNames } },
    );
  }
  const known: readonly string[] = ["method", ...methods[method].options];
  const unknown = Object.keys(options).find((one) => !known.includes(one));
  if (unknown === undefined) return;
  throw new OptionInvalidError(
    `Stage "${site}" is to be tuned with an unknown option \`${unknown}\`. Known: ${known.join(", ")}.${didYouMean(unknown, known)}`,
    { facts: { step: site, option: unknown, available: known } },
  );
}

function checkLabels(steps: ChainDefinition["steps"], labels: readonly string[]): readonly string[] {
  const known = [...sitesOf(steps)].flatMap(({ step, site }) => (step.settings === undefined ? [] : [site]));
  if (!Array.isArray(labels) || labels.length === 0) {
    throw new OptionInvalidError(
      `\`labels\` names no stage. Name some of ${known.join(", ")}, or leave it out.`,
      {
        facts: { option: "labels", value: String(labels), available: known },
      },
    );
  }
  const unknown = labels.find((one) => !known.includes(one));
  if (unknown !== undefined) throw unknownStage("labels", unknown, known);
  return labels;
}

function defaultActivations(): number {
  const quarter = loadNative().availableMemory() / 4;
  return Math.min(1024 * mebibyte, Math.max(64 * mebibyte, quarter));
}

/** Throws OPTION_INVALID for a trained stage that no label can depend on, and for labels that depend on none. */
function checkReach(
  { steps }: ChainDefinition,
  trained: ReadonlySet<string>,
  labelled: ReadonlySet<string>,
): void {
  const plan = planChain(steps, { slots: trained });
  const promptsOf = (sites: Iterable<string>) =>
    new Set([...sites].flatMap((site) => plan.promptOf.get(site) ?? []));
  const outputsOf = (sites: ReadonlySet<string>) =>
    new Set(plan.segments.filter((one) => one.kind === "output" && sites.has(one.site)).map(({ id }) => id));
  const kinds = kindsOf(plan, promptsOf(trained), outputsOf(labelled));
  for (const site of trained) {
    if (kinds.get(plan.promptOf.get(site) ?? "") === "live") continue;
    throw new OptionInvalidError(
      `No label depends on stage "${site}", which is to be tuned: no output of ${list(labelled)} reads what it writes. ` +
        "Put it into `labels`, or leave it out of `stages`.",
      { facts: { option: "stages", value: site, available: [...labelled] } },
    );
  }
  for (const site of labelled) {
    if ([...outputsOf(new Set([site]))].some((id) => kinds.get(id) === "live")) continue;
    throw new OptionInvalidError(
      `The output of "${site}" depends on no trained prompt, so that scoring it teaches nothing. ` +
        "Leave it out of `labels`, or put a stage that it depends on into `stages`.",
      { facts: { option: "labels", value: site, available: [...trained] } },
    );
  }
}

/** Throws DATA_INVALID for a trained stage that no record has a label for. */
function checkTouched(task: ChainTask, { trained }: TuningTally, { items }: DataSet): void {
  const untouched = task.parameters.find(({ stage }) => !trained.has(stage));
  if (untouched === undefined) return;
  throw new DataInvalidError(
    `No label in ${items.length} records depends on stage "${untouched.stage}", which is to be tuned. ` +
      "Give records in which it runs, or leave it out of `stages`.",
    { facts: { step: untouched.stage, records: items.length } },
  );
}

function list(names: Iterable<string>): string {
  return [...names].map((one) => `"${one}"`).join(", ");
}

// ---- first values

/** By stage in the order of `stages`. A stage's random numbers depend on the seed and its name alone. */
async function initialise(
  definition: ChainDefinition,
  stages: ReadonlyMap<string, StageTuning>,
  seed: number,
): Promise<{ rows: number; values: Float32Array }[]> {
  if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32) {
    throw new OptionInvalidError(
      `\`seed\` is ${String(seed)}, which must be a whole number from 0 to 4294967295.`,
      {
        facts: { option: "seed", value: String(seed) },
      },
    );
  }
  const settings = settingsBySite(definition);
  const found: { rows: number; values: Float32Array }[] = [];
  for (const [site, { method = "prompt", ...options }] of stages) {
    const digest = createHash("sha256").update(`${seed} ${site}`).digest();
    const random = new Random(randomState(digest.readUInt32LE(0)));
    const prompt = settings.get(site)?.prompt ?? null;
    found.push(
      await methods[method].initialise({ model: definition.model, stage: site, prompt, random }, options),
    );
  }
  return found;
}
