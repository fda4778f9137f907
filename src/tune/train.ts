// SPDX-License-Identifier: Apache-2.0
// The loop: batches, gradients, updates, evaluations, checkpoints. It knows no chain.
//
// Law: a step happens whole or not at all. Until its update nothing of the run's state changes, nothing stops the
// update, and what the step was is written down as soon as it is made, so an abort or a failure at any moment leaves the
// state of the step before or of this one, which is what a checkpoint then holds. A periodic checkpoint is written when
// the step after it has found loss and gradient to be numbers: what is on the disk can be gone on from.
//
// Values and moments are the task's to hold, where it computes; here they are read for checkpoints and evaluations.

import { InternalError, TuningDivergedError } from "../errors.js";
import { BatchOrder, inParts } from "./batches.js";
import type { Checkpoint, Identity, Progress } from "./checkpoint.js";
import { snapshot, writeCheckpoint } from "./checkpoint.js";
import { devLoss, withPrepared } from "./evaluate.js";
import type { PromptFacts } from "./export.js";
import { scheduleAt, warmupStepsOf } from "./schedule.js";
import type { TrainSettings } from "./settings.js";
import type { Start } from "./start.js";
import { startOf } from "./start.js";
import type { Evaluation, OnEvaluating, StepRows, TuneStep } from "./steps.js";
import type { HeldParameters, TrainingTask } from "./task.js";
import { TimeLeft } from "./time-left.js";

export interface TrainRun<Item> {
  task: TrainingTask<Item>;
  /** At least one. */
  items: readonly Item[];
  /** None: no evaluation. */
  dev: readonly Item[];
  /** Initial values by parameter, [rows, hidden]; they stay as they are. */
  initial: readonly Float32Array[];
  settings: TrainSettings;
  /** What a checkpoint must have been written under: model, chain, data. */
  identity: Identity;
  /** What an export says of prompts with these values, by parameter: kept in checkpoints. */
  factsOf: (values: readonly Float32Array[]) => Promise<readonly PromptFacts[]>;
  /** Scores of what the chain generates with these values; called after every dev loss. */
  score?: (
    values: readonly Float32Array[],
    signal: AbortSignal,
    onScored?: (done: number) => void,
  ) => Promise<Record<string, number>>;
  signal: AbortSignal;
  onStep: (step: TuneStep) => void;
  onWarning: (message: string) => void;
  /** During an evaluation: dev items that are done, first of the loss, then of the scores. */
  onEvaluating?: OnEvaluating;
}

export interface TrainResult {
  /** By parameter [rows, hidden]: of the lowest dev loss or the last, as `keep` says. */
  values: Float32Array[];
  /** Steps after which `values` were what they are. */
  valuesStep: number;
  /** All steps, those before a resume included. */
  steps: TuneStep[];
  /** The first one is of before the first step. */
  evaluations: Evaluation[];
  stopped: "end" | "patience";
  /** Steps that a checkpoint had done already. */
  resumedFrom: number;
}

interface Summed {
  loss: number;
  rows: StepRows;
}

/** Throws IoError, CHECKPOINT_INVALID, TUNING_DIVERGED, what the task throws, and the signal's reason. */
export async function train<Item>(run: TrainRun<Item>): Promise<TrainResult> {
  run.signal.throwIfAborted();
  const start = await startOf(run);
  const parameters = await run.task.hold(start);
  try {
    return await new Trainer(run, start, parameters).run();
  } finally {
    parameters.close();
  }
}

class Trainer<Item> {
  readonly #run: TrainRun<Item>;
  readonly #steps: number;
  readonly #stepsPerEpoch: number;
  readonly #warmupSteps: number;
  readonly #state: Progress;
  readonly #parameters: HeldParameters;
  readonly #order: BatchOrder;
  readonly #resumedFrom: number;
  /** Due to be written once the next step has shown its values to be good. */
  #pending: Checkpoint | null = null;
  /** Steps of the checkpoint on the disk; null: none of this run. */
  #written: number | null;
  #writeError: unknown;
  readonly #timeLeft = new TimeLeft();

  constructor(run: TrainRun<Item>, { progress, resumedFrom }: Start, parameters: HeldParameters) {
    this.#run = run;
    const { batchSize, accumulation, epochs, shuffle, warmup } = run.settings;
    this.#stepsPerEpoch = Math.ceil(run.items.length / (batchSize * accumulation));
    this.#steps = epochs * this.#stepsPerEpoch;
    this.#warmupSteps = warmupStepsOf(warmup, this.#steps);
    this.#state = progress;
    this.#parameters = parameters;
    this.#order = new BatchOrder(run.items.length, batchSize * accumulation, shuffle, progress.order);
    this.#resumedFrom = resumedFrom ?? 0;
    this.#written = resumedFrom;
  }

  async run(): Promise<TrainResult> {
    try {
      const stopped = await this.#loop();
      this.#state.finished = true;
      const last = await this.#snapshot();
      await this.#write(last);
      return this.#result(last, stopped);
    } catch (error) {
      await this.#keep(error);
      throw this.#run.signal.aborted ? this.#run.signal.reason : error;
    }
  }

  /** Where the run stands. Throws INTERNAL where an update was made that nobody heard of. */
  async #snapshot(): Promise<Checkpoint> {
    const numbers = await this.#parameters.numbers();
    const { step } = this.#state;
    if (numbers.adam.updates === step) return snapshot(this.#state, numbers);
    throw new InternalError(`Step ${step} has values of ${numbers.adam.updates} updates.`);
  }

  async #loop(): Promise<TrainResult["stopped"]> {
    const { dev, settings, onStep } = this.#run;
    const state = this.#state;
    let before: Evaluation | undefined;
    if (dev.length > 0 && state.evaluations.length === 0) before = await this.#evaluate();
    const last = state.history.at(-1);
    if (last !== undefined && this.#isDue() && state.evaluations.at(-1)?.step !== state.step) {
      last.evaluation = await this.#evaluate(); // the run was stopped between the step and its evaluation
      onStep({ ...last });
    }
    while (state.step < this.#steps && !this.#isOutOfPatience()) {
      const record = await this.#takeStep();
      await this.#writePending();
      if (before !== undefined) record.before = before;
      before = undefined;
      if (this.#isDue()) record.evaluation = await this.#evaluate();
      onStep({ ...record });
      if (settings.checkpoint !== null && state.step % settings.checkpointEvery === 0) {
        this.#pending = await this.#snapshot();
      }
    }
    return this.#isOutOfPatience() ? "patience" : "end";
  }

  /** Whether the dev data are asked after the step that is done. */
  #isDue(): boolean {
    const { dev, settings } = this.#run;
    const { step } = this.#state;
    if (dev.length === 0) return false;
    return (
      step % this.#stepsPerEpoch === 0 ||
      (settings.evaluateEvery !== null && step % settings.evaluateEvery === 0)
    );
  }

  #isOutOfPatience(): boolean {
    const { patience } = this.#run.settings;
    return patience !== null && this.#state.waited >= patience;
  }

  async #takeStep(): Promise<TuneStep> {
    const { settings } = this.#run;
    const state = this.#state;
    const begun = performance.now();
    const batch = this.#order.current();
    const share = scheduleAt(settings.schedule, state.step, {
      steps: this.#steps,
      warmupSteps: this.#warmupSteps,
    });
    const learningRate = settings.learningRate * share;
    const { loss, rows } = await this.#gradients(batch.items);
    if (!Number.isFinite(loss)) throw this.#diverged("the loss", loss, learningRate);
    this.#run.signal.throwIfAborted();

    // from here on nothing stops the step
    const { maxGradientNorm, betas, epsilon, weightDecay } = settings;
    const options = { learningRate, maxGradientNorm, betas, epsilon, weightDecay };
    const { norm, finite } = await this.#parameters.update(options);
    if (!Number.isFinite(norm)) throw this.#diverged("the gradient's length", norm, learningRate);
    if (!finite) await this.#failValues(learningRate);
    state.step += 1;
    this.#order.advance();
    state.order = this.#order.state;
    const seconds = (performance.now() - begun) / 1000;
    this.#timeLeft.addStep(seconds);
    const record: TuneStep = {
      step: state.step,
      steps: this.#steps,
      epoch: state.step / this.#stepsPerEpoch,
      loss,
      learningRate,
      gradientNorm: norm,
      rows,
      rowsPerSecond: rows.computed / Math.max(seconds, 1e-9),
      secondsLeft: this.#timeLeft.after(state.step, this.#steps, {
        stepsPerEpoch: this.#stepsPerEpoch,
        evaluateEvery: settings.evaluateEvery,
      }),
    };
    state.history.push(record);
    return record;
  }

  /** The gradient was good, so what was due before it is. */
  async #failValues(learningRate: number): Promise<never> {
    await this.#writePending();
    const numbers = (await this.#parameters.values()).flatMap((one) => [...one]);
    const bad = numbers.find((one) => !Number.isFinite(one)) as number;
    throw this.#diverged("a value of the prompt", bad, learningRate);
  }

  /** Loss of the mean over items of the item's mean; gradients of parts of `batchSize` items are added in order. */
  async #gradients(indices: Uint32Array): Promise<Summed> {
    const { task, items, settings, signal } = this.#run;
    const scale = 1 / indices.length;
    const sum: Summed = { loss: 0, rows: { live: 0, frozen: 0, reused: 0, computed: 0 } };
    let gradient: "first" | "more" = "first";
    for (const part of inParts([...indices], settings.batchSize)) {
      const batch = part.map((i) => items[i] as Item);
      await withPrepared(task, batch, signal, async (prepared) => {
        const found = await this.#parameters.loss(prepared, { gradient, scale, signal });
        gradient = "more";
        for (const [i, { rows, reused }] of prepared.entries()) {
          sum.loss += ((found.losses[i] as number) / rows.labels) * scale;
          sum.rows.live += rows.live;
          sum.rows.frozen += rows.frozen;
          sum.rows.reused += reused;
        }
        sum.rows.computed += found.rowsComputed;
      });
    }
    return sum;
  }

  async #evaluate(): Promise<Evaluation> {
    const { task, dev, settings, signal, score, onEvaluating } = this.#run;
    const state = this.#state;
    const begun = performance.now();
    const loss = await devLoss(task, dev, this.#parameters, settings.batchSize, signal, (done) =>
      onEvaluating?.(done, dev.length, "evaluate"),
    ).catch((error: unknown) => {
      throw TuningDivergedError.isInstance(error) ? this.#divergedOnDev(error) : error;
    });
    const scored = (done: number) => onEvaluating?.(done, dev.length, "score");
    const isBest = state.best === null || loss < state.best.devLoss;
    const values = isBest || score !== undefined ? await this.#parameters.values() : [];
    const scores = score === undefined ? {} : await score(values, signal, scored);
    signal.throwIfAborted();
    this.#timeLeft.addEvaluation((performance.now() - begun) / 1000);
    const found: Evaluation = {
      step: state.step,
      epoch: state.step / this.#stepsPerEpoch,
      devLoss: loss,
      scores,
    };
    state.evaluations.push(found);
    if (isBest) {
      state.best = { step: state.step, devLoss: loss, values };
      state.waited = 0;
    } else state.waited += 1;
    return found;
  }

  /** Before the first step nothing has diverged: the rows that it begins with are bad. */
  #divergedOnDev(error: TuningDivergedError): TuningDivergedError {
    const { step, history } = this.#state;
    const { origin, value } = error.facts;
    const learningRate = history.at(-1)?.learningRate ?? 0;
    if (step === 0) return error;
    return this.#diverged(`the dev loss of ${origin}`, Number(value), learningRate, step);
  }

  #diverged(
    what: string,
    value: number,
    learningRate: number,
    step = this.#state.step + 1,
  ): TuningDivergedError {
    const { checkpoint } = this.#run.settings;
    const kept = this.#written === null ? "" : ` ${checkpoint} still holds step ${this.#written}.`;
    return new TuningDivergedError(
      `In step ${step}, at learning rate ${learningRate}, ${what} became ${value}.${kept} Tune with a lower learning ` +
        "rate, a longer warm-up or a smaller maxGradientNorm.",
      {
        facts: {
          step,
          learningRate,
          what,
          value: String(value),
          ...(this.#written === null ? {} : { checkpointStep: this.#written }),
        },
      },
    );
  }

  async #writePending(): Promise<void> {
    const pending = this.#pending;
    this.#pending = null;
    if (pending !== null) await this.#write(pending);
  }

  async #write(state: Checkpoint): Promise<void> {
    const { settings, task, factsOf } = this.#run;
    if (settings.checkpoint === null) return;
    const { best } = state;
    const facts = { values: await factsOf(state.values), best: best && (await factsOf(best.values)) };
    try {
      await writeCheckpoint(settings.checkpoint, state, task.parameters, facts);
      this.#written = state.step;
    } catch (error) {
      this.#writeError = error;
      throw error;
    }
  }

  /**
   * After a cancel or a failure: what was done until then, unless it diverged or the disk is what failed. Where values
   * are lost with their device, what was due to be written.
   */
  async #keep(error: unknown): Promise<void> {
    const { onWarning } = this.#run;
    if (TuningDivergedError.isInstance(error) || error === this.#writeError) return;
    if (this.#state.step === (this.#written ?? 0)) return;
    try {
      const state = await this.#snapshot().catch((failure: unknown) => {
        if (this.#pending !== null) return this.#pending;
        throw failure;
      });
      await this.#write(state);
    } catch (failure) {
      onWarning((failure as Error).message);
    }
  }

  #result(last: Checkpoint, stopped: TrainResult["stopped"]): TrainResult {
    const { best, values, step, history, evaluations } = last;
    const kept = this.#run.settings.keep === "best" && best !== null ? best : { step, values };
    return {
      values: kept.values,
      valuesStep: kept.step,
      steps: history,
      evaluations,
      stopped,
      resumedFrom: this.#resumedFrom,
    };
  }
}
