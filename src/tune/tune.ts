// SPDX-License-Identifier: Apache-2.0
// tune(): from a chain and its data to trained prompts. Everything that can be wrong is found before the first step;
// then the loop runs by itself, steps wait in the iteration until somebody reads them.

import { setMaxListeners } from "node:events";
import { Channel } from "../chain/channel.js";
import type { ChainDefinition } from "../chain/definition.js";
import { sitesOf } from "../chain/names.js";
import type { BatonError, ErrorClass } from "../errors.js";
import { IoError, OptionInvalidError } from "../errors.js";
import { checkKnown } from "../model/known-options.js";
import type { TuneProgress } from "../model/progress.js";
import type { PromptSource } from "../model/prompt.js";
import type { TuningExplanation } from "./explain.js";
import type { PeftInit, PromptFacts, TunedPrompt } from "./export.js";
import { checkPromptFolder, exportPrompts, promptFolders } from "./export.js";
import { exportCheckpoint } from "./export-checkpoint.js";
import type { Score, ScoreFrom } from "./score.js";
import { createScorer } from "./score.js";
import type { TrainOptions } from "./settings.js";
import { checkTrainOptions, trainOptionNames } from "./settings.js";
import type { Evaluation, TuneStep } from "./steps.js";
import type { Parameter } from "./task.js";
import type { TrainResult, TrainRun } from "./train.js";
import { train } from "./train.js";
import type { StageSite, StageTuning, Tuning, TuningOptions } from "./tuning.js";
import { openTuning } from "./tuning.js";

export interface TuneOptions<Site extends string = string> extends TuningOptions<Site>, TrainOptions {
  /** Folder of the trained prompt, as PEFT has them; of several prompts a folder with one for each stage. */
  output?: string;
  /** What is asked of outputs that the chain generates for the dev data, at every evaluation; default: nothing. */
  score?: Score | null;
  /**
   * What scored stages read then: "chain" (default), what the chain wrote; "gold", the record's texts. "gold" tells how
   * good a stage is apart from those before it, and costs little: frozen rows are there, scored outputs alone are generated.
   */
  scoreFrom?: ScoreFrom;
  /** Name of the base model in the files of PEFT; default: the model's name. */
  baseModel?: string;
  /** What should be known and ends nothing; default: a process warning. */
  onWarning?: (message: string) => void;
  /** Hears of steps that are done, and of dev records during an evaluation, which comes before the first step, too. */
  onProgress?: (progress: TuneProgress) => void;
}

export interface TuneResult<Site extends string = string> {
  prompts: Readonly<Record<Site, TunedPrompt>>;
  /** Steps after which the prompts were what they are: those of the lowest dev loss, or the last. */
  step: number;
  /** All of them, those before a resume too. */
  steps: readonly TuneStep[];
  /** The first is of before the first step; none without dev data. */
  evaluations: readonly Evaluation[];
  /** "patience": the dev loss no longer fell. */
  stopped: "end" | "patience";
  /** Steps that the checkpoint had done already. */
  resumedFrom: number;
}

/** A tuning in progress: iterate it for steps, await `result`. Breaking out of the loop cancels. */
export interface TuneRun<Site extends string = string> extends AsyncIterable<TuneStep> {
  readonly result: Promise<TuneResult<Site>>;
  [Symbol.asyncIterator](): AsyncIterator<TuneStep, undefined>;
}

/** What has a definition: a chain. */
interface Defined {
  readonly definition: ChainDefinition;
}

const ownOptions: readonly string[] = [
  "stages",
  "labels",
  "data",
  "dev",
  "fields",
  "frozenBytes",
  "frozenFolder",
  "frozenDiskBytes",
  "activationBytes",
  "signal",
  "output",
  "score",
  "scoreFrom",
  "baseModel",
  "onWarning",
  "onProgress",
];

function checkNames(options: unknown): void {
  if (typeof options !== "object" || options === null) {
    throw new OptionInvalidError("tune needs options: `stages` and `data` at least.", {
      facts: { option: "stages" },
    });
  }
  const known = [...ownOptions, ...trainOptionNames];
  checkKnown({ label: "tune", facts: {} }, options, known);
}

/** Folder of each prompt; made at once, so that a path that cannot be written is known before the work. */
async function openOutput(
  output: string | undefined,
  parameters: readonly Parameter[],
): Promise<(string | null)[]> {
  if (output !== undefined && (typeof output !== "string" || output === "")) {
    throw new OptionInvalidError("`output` must be the path of a folder.", {
      facts: { option: "output", value: String(output) },
    });
  }
  const stages = parameters.map(({ stage }) => stage);
  const folders = promptFolders(output, stages);
  for (const path of folders) {
    if (path === null) continue;
    await checkPromptFolder(path).catch((cause: IoError) => {
      throw new IoError(`No prompt can be written into ${path}: ${cause.message} Name another \`output\`.`, {
        facts: { ...cause.facts, path },
        cause,
      });
    });
  }
  return folders;
}

/** How PEFT would call what the rows began as. */
function peftInit({ init }: StageTuning, prompt: PromptSource | null): PeftInit {
  if (init === "vocabulary" || (init === undefined && prompt === null)) return { kind: "SAMPLE_VOCAB" };
  const source = init ?? prompt;
  if (typeof source === "object" && source !== null && "text" in source)
    return { kind: "TEXT", text: source.text };
  return { kind: "RANDOM" };
}

function stageOptions({ stages }: TuningOptions, site: string): StageTuning {
  return Array.isArray(stages) ? {} : ((stages as Readonly<Record<string, StageTuning>>)[site] ?? {});
}

/** What an export says of the trained prompts, by parameter, with the values that it is given. */
function factsOf(
  { model, steps }: ChainDefinition,
  options: TuneOptions,
  { task }: Tuning,
): (values: readonly Float32Array[]) => Promise<PromptFacts[]> {
  const { hidden, heads, layers } = model.info;
  const baseModel = options.baseModel ?? model.name;
  const inits = task.parameters.map(({ stage }) => {
    const given = [...sitesOf(steps)].find(({ site }) => site === stage)?.step.settings?.prompt ?? null;
    return peftInit(stageOptions(options, stage), given);
  });
  return async (values) => {
    const contracts = await task.contracts(values);
    return contracts.map((contract, at) => {
      return { model: { hidden, heads, layers }, baseModel, init: inits[at] as PeftInit, contract };
    });
  };
}

/**
 * Training has ended and `output` cannot be written (any more). Nothing is lost: where there is a checkpoint, the prompts
 * are in it (`facts.checkpoint`; `tune.export` takes them out); they are here in any case, as `result` would have them.
 */
export class PromptsUnwrittenError<Site extends string = string> extends IoError {
  readonly prompts: Readonly<Record<Site, TunedPrompt>>;

  /** True for an IoError that has the prompts. */
  static override isInstance<E extends BatonError>(this: ErrorClass<E>, value: unknown): value is E {
    return IoError.isInstance(value) && "prompts" in value;
  }

  constructor(error: IoError, checkpoint: string | null, prompts: Readonly<Record<Site, TunedPrompt>>) {
    const where =
      checkpoint === null
        ? "`prompts` of this error has what was trained: stages take it as their `prompt`."
        : `What was trained is in ${checkpoint}: \`tune.export\` and \`baton export\` write it elsewhere.`;
    const facts = checkpoint === null ? error.facts : { ...error.facts, checkpoint };
    super(`${error.message} ${where}`, { facts, cause: error });
    this.prompts = prompts;
  }
}

async function finish(
  { task }: Tuning,
  facts: readonly PromptFacts[],
  folders: readonly (string | null)[],
  trained: TrainResult,
  checkpoint: string | null,
): Promise<TuneResult> {
  const prompts = task.parameters.map(({ stage, rows: count }, at) => {
    const rows = trained.values[at] as Float32Array;
    return { stage, rows, count, folder: folders[at] ?? null, ...(facts[at] as PromptFacts) };
  });
  const { valuesStep: step, evaluations, stopped, resumedFrom } = trained;
  const written = await exportPrompts(prompts).catch(async (error: unknown) => {
    if (!IoError.isInstance(error)) throw error;
    const kept = await exportPrompts(prompts.map((one) => ({ ...one, folder: null })));
    throw new PromptsUnwrittenError(error, checkpoint, kept);
  });
  return {
    prompts: written,
    step,
    steps: trained.steps,
    evaluations,
    stopped,
    resumedFrom,
  };
}

async function runTuning(
  definition: ChainDefinition,
  options: TuneOptions,
  signal: AbortSignal,
  onStep: (step: TuneStep) => void,
): Promise<TuneResult> {
  checkNames(options);
  const settings = checkTrainOptions(options, options.dev !== undefined);
  const onWarning =
    options.onWarning ??
    ((message) => process.emitWarning(message, { type: "BatonWarning", code: "TUNING" }));
  const tuning = await openTuning(definition, { ...options, signal });
  const { task, items, dev, initial, identity } = tuning;
  try {
    for (const warning of tuning.warnings) onWarning(warning);
    const folders = await openOutput(options.output, task.parameters);
    const labelled = options.labels ?? task.parameters.map(({ stage }) => stage);
    const { score: wanted = null, scoreFrom = "chain" } = options;
    const scorer =
      wanted === null ? null : await createScorer({ task, score: wanted, scoreFrom, labelled, dev });
    const score: TrainRun<unknown>["score"] = async (values, stop, onScored) =>
      (await scorer?.(task.prompts(values), stop, onScored)) ?? {};
    const { onProgress } = options;
    const facts = factsOf(definition, options, tuning);
    const trained = await train({
      task,
      items,
      dev,
      initial,
      settings,
      identity,
      factsOf: facts,
      score,
      signal,
      onStep: (step) => {
        onStep(step);
        onProgress?.({ phase: "train", done: step.step, total: step.steps });
      },
      onWarning,
      onEvaluating: (done, total, phase) => onProgress?.({ phase, done, total }),
    });
    return await finish(tuning, await facts(trained.values), folders, trained, settings.checkpoint);
  } finally {
    task.close();
  }
}

/** The stages that are named are those whose prompts the result has. */
interface Named<Trained extends string> {
  stages: readonly Trained[] | { readonly [S in Trained]?: StageTuning };
}

function startTuning<C extends Defined, const Trained extends StageSite<C>>(
  chain: C,
  options: TuneOptions<StageSite<C>> & Named<Trained>,
): TuneRun<Trained> {
  const controller = new AbortController();
  const given = options?.signal;
  const onAbort = () => controller.abort(given?.reason);
  if (given?.aborted) onAbort();
  else if (given !== undefined) {
    setMaxListeners(0, given); // one signal may stop any number of tunings; each takes its listener away again
    given.addEventListener("abort", onAbort, { once: true });
  }
  const channel = new Channel<TuneStep>(() => controller.abort());
  const run = async () => {
    try {
      controller.signal.throwIfAborted();
      const plain = options as TuneOptions;
      const result = await runTuning(chain.definition, plain, controller.signal, (step) =>
        channel.push(step),
      );
      channel.end();
      return result as TuneResult<Trained>;
    } catch (error) {
      channel.fail(error);
      throw error;
    } finally {
      given?.removeEventListener("abort", onAbort);
    }
  };
  const result = run();
  result.catch(() => {}); // a reader of steps hears the error there
  return { result, [Symbol.asyncIterator]: () => channel.iterator() };
}

/** What a tuning with these options would compute and hold. Throws as tune does before its first step. */
async function explainTuning<C extends Defined>(
  chain: C,
  options: TuneOptions<StageSite<C>>,
): Promise<TuningExplanation> {
  const plain = options as TuneOptions;
  checkNames(plain);
  const { batchSize, accumulation } = checkTrainOptions(plain, plain.dev !== undefined);
  const tuning = await openTuning(chain.definition, plain);
  try {
    return tuning.explain(batchSize * accumulation);
  } finally {
    tuning.task.close();
  }
}

/**
 * Trains the prompts of some stages of a chain on its data: prompt tuning, live rows only (docs/guide/tuning.md). All
 * failures arrive through `result` and the iteration: OPTION_INVALID, DATA_INVALID, DATA_CHANGED, CONTEXT_LIMIT,
 * PROMPT_INVALID, CHECKPOINT_INVALID, TUNING_DIVERGED, DEVICE_UNAVAILABLE (a GPU that is lost), IO; an abort as the signal's reason.
 */
export const tune = Object.assign(startTuning, { explain: explainTuning, export: exportCheckpoint });
