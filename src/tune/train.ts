// SPDX-License-Identifier: Apache-2.0
// The loop: batches, gradients, updates, evaluations, checkpoints. It knows no chain.
//
// Law: a step happens whole or not at all. Until its update nothing of the run's state changes, the update is made
// without waiting for anything, so an abort or a failure at any moment leaves the state of the step before, which is what
// a checkpoint then holds. A periodic checkpoint is written when the step after it has found loss and gradient to be
// numbers: what is on the disk can be gone on from.

import { CheckpointInvalidError, TuningDivergedError } from "../errors.js";
import { BatchOrder, firstOrder, inParts } from "./batches.js";
import type { Checkpoint, Identity } from "./checkpoint.js";
import { differences, openCheckpoint, snapshot, writeCheckpoint } from "./checkpoint.js";
import { devLoss, withPrepared } from "./evaluate.js";
import type { PromptFacts } from "./export.js";
import { checkWritable, removeLeftovers } from "./files.js";
import { adamWStep, clipGradients, createAdamWState, globalNorm } from "./optimizer.js";
import { scheduleAt, warmupStepsOf } from "./schedule.js";
import type { TrainSettings } from "./settings.js";
import { changeable, orderIdentity } from "./settings.js";
import type { Evaluation, OnEvaluating, StepRows, TuneStep } from "./steps.js";
import type { TrainingTask } from "./task.js";
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

interface Gradients {
  loss: number;
  gradients: Float32Array[];
  rows: StepRows;
}

/** Throws IoError, CHECKPOINT_INVALID, TUNING_DIVERGED, what the task throws, and the signal's reason. */
export async function train<Item>(run: TrainRun<Item>): Promise<TrainResult> {
  run.signal.throwIfAborted();
  const trainer = new Trainer(run);
  return trainer.run();
}

class Trainer<Item> {
  readonly #run: TrainRun<Item>;
  readonly #steps: number;
  readonly #stepsPerEpoch: number;
  readonly #warmupSteps: number;
  #state: Checkpoint;
  #order: BatchOrder;
  #resumedFrom = 0;
  /** Due to be written once the next step has shown its values to be good. */
  #pending: Checkpoint | null = null;
  /** Steps of the checkpoint on the disk; null: none of this run. */
  #written: number | null = null;
  #writeError: unknown;
  readonly #timeLeft = new TimeLeft();

  constructor(run: TrainRun<Item>) {
    this.#run = run;
    const { batchSize, accumulation, epochs, warmup, seed } = run.settings;
    this.#stepsPerEpoch = Math.ceil(run.items.length / (batchSize * accumulation));
    this.#steps = epochs * this.#stepsPerEpoch;
    this.#warmupSteps = warmupStepsOf(warmup, this.#steps);
    const values = run.initial.map((one) => one.slice());
    this.#state = {
      identity: { ...run.identity, ...orderIdentity(run.settings, run.items.length) },
      settings: changeable(run.settings),
      step: 0,
      order: firstOrder(seed),
      values,
      adam: createAdamWState(values),
      best: null,
      waited: 0,
      history: [],
      evaluations: [],
      finished: false,
    };
    this.#order = this.#orderFrom(this.#state.order);
  }

  #orderFrom(state: Checkpoint["order"]): BatchOrder {
    const { batchSize, accumulation, shuffle } = this.#run.settings;
    return new BatchOrder(this.#run.items.length, batchSize * accumulation, shuffle, state);
  }

  async run(): Promise<TrainResult> {
    await this.#begin();
    try {
      const stopped = await this.#loop();
      this.#state.finished = true;
      await this.#write(this.#state);
      return this.#result(stopped);
    } catch (error) {
      await this.#keep(error);
      throw this.#run.signal.aborted ? this.#run.signal.reason : error;
    }
  }

  async #begin(): Promise<void> {
    const { settings, task, onWarning } = this.#run;
    const { checkpoint: path, resume } = settings;
    if (path === null) return;
    const file = await openCheckpoint(path);
    await removeLeftovers(path); // not when prompts are taken out: then the run may be writing
    await checkWritable(path);
    if (file === null) return;
    if (!resume) {
      if (file.finished) return;
      throw new CheckpointInvalidError(
        `${file.path} is the checkpoint of a run that has not ended (step ${file.step}). Resume it, delete it, or name ` +
          "another file.",
        { facts: { path: file.path, step: file.step } },
      );
    }
    const found = file.restore(this.#state.identity, task.parameters);
    const changed = differences(found.settings, this.#state.settings);
    if (changed.length > 0) {
      const list = changed.map((one) => `${one.field} was ${one.there} and is ${one.here}`).join("; ");
      onWarning(
        `${file.path} was written under other settings (${list}): the run goes on otherwise than it would have.`,
      );
    }
    this.#state = { ...found, settings: this.#state.settings, finished: false };
    this.#order = this.#orderFrom(found.order);
    this.#resumedFrom = found.step;
    this.#written = found.step;
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
      if (before !== undefined) record.before = before;
      before = undefined;
      if (this.#isDue()) record.evaluation = await this.#evaluate();
      onStep({ ...record });
      if (settings.checkpoint !== null && state.step % settings.checkpointEvery === 0) {
        this.#pending = snapshot(state);
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
    const { loss, gradients, rows } = await this.#gradients(batch.items);
    if (!Number.isFinite(loss)) throw this.#diverged("the loss", loss, learningRate);
    const gradientNorm = globalNorm(gradients);
    if (!Number.isFinite(gradientNorm))
      throw this.#diverged("the gradient's length", gradientNorm, learningRate);
    await this.#writePending();
    this.#run.signal.throwIfAborted();

    // from here on nothing is waited for: the step is made whole
    if (settings.maxGradientNorm !== null) clipGradients(gradients, gradientNorm, settings.maxGradientNorm);
    adamWStep(state.values, gradients, state.adam, learningRate, settings);
    for (const value of state.values) {
      const bad = value.find((one) => !Number.isFinite(one));
      if (bad !== undefined) throw this.#diverged("a value of the prompt", bad, learningRate);
    }
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
      gradientNorm,
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

  /** Loss and gradients of the mean over items of the item's mean; parts of `batchSize` items are added in order. */
  async #gradients(indices: Uint32Array): Promise<Gradients> {
    const { task, items, settings, signal } = this.#run;
    const { values } = this.#state;
    const scale = 1 / indices.length;
    const sum: Gradients = { loss: 0, gradients: [], rows: { live: 0, frozen: 0, reused: 0, computed: 0 } };
    for (const part of inParts([...indices], settings.batchSize)) {
      const batch = part.map((i) => items[i] as Item);
      await withPrepared(task, batch, signal, async (prepared) => {
        const found = await task.loss(prepared, values, { gradient: true, scale, signal });
        for (const [i, { rows, reused }] of prepared.entries()) {
          sum.loss += ((found.losses[i] as number) / rows.labels) * scale;
          sum.rows.live += rows.live;
          sum.rows.frozen += rows.frozen;
          sum.rows.reused += reused;
        }
        sum.rows.computed += found.rowsComputed;
        addGradients(sum.gradients, found.gradients);
      });
    }
    return sum;
  }

  async #evaluate(): Promise<Evaluation> {
    const { task, dev, settings, signal, score, onEvaluating } = this.#run;
    const state = this.#state;
    const begun = performance.now();
    const loss = await devLoss(task, dev, state.values, settings.batchSize, signal, (done) =>
      onEvaluating?.(done, dev.length, "loss"),
    ).catch((error: unknown) => {
      throw TuningDivergedError.isInstance(error) ? this.#divergedOnDev(error) : error;
    });
    const scored = (done: number) => onEvaluating?.(done, dev.length, "scores");
    const scores = score === undefined ? {} : await score(state.values, signal, scored);
    signal.throwIfAborted();
    this.#timeLeft.addEvaluation((performance.now() - begun) / 1000);
    const found: Evaluation = {
      step: state.step,
      epoch: state.step / this.#stepsPerEpoch,
      devLoss: loss,
      scores,
    };
    state.evaluations.push(found);
    if (state.best === null || loss < state.best.devLoss) {
      state.best = { step: state.step, devLoss: loss, values: state.values.map((one) => one.slice()) };
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

  /** After a cancel or a failure: what was done until then, unless it diverged or the disk is what failed. */
  async #keep(error: unknown): Promise<void> {
    const { onWarning } = this.#run;
    if (TuningDivergedError.isInstance(error) || error === this.#writeError) return;
    if (this.#state.step === (this.#written ?? 0)) return;
    await this.#write(this.#state).catch((failure: unknown) => onWarning((failure as Error).message));
  }

  #result(stopped: TrainResult["stopped"]): TrainResult {
    const { best, values, step, history, evaluations } = this.#state;
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

/** Adds to `sum`, which takes over the arrays of the first part. */
function addGradients(sum: Float32Array[], gradients: Float32Array[]): void {
  if (sum.length === 0) {
    sum.push(...gradients);
    return;
  }
  for (const [p, gradient] of gradients.entries()) {
    const total = sum[p] as Float32Array;
    for (let i = 0; i < total.length; i++) total[i] = (total[i] as number) + (gradient[i] as number);
  }
}
