// SPDX-License-Identifier: Apache-2.0
// Parameters where the model computes, on a CPU as on a device: steps read their rows and sum their gradients there,
// updates are made there, and only what a checkpoint, an evaluation or an export asks for comes here.

import { InternalError } from "../errors.js";
import type { EngineClient } from "../native/engine-client.js";
import type { NativeTrainStep, TrainedHandle, TrainedKind } from "../native/types.js";
import type {
  HeldParameters,
  Losses,
  ParameterNumbers,
  PreparedItem,
  UpdateOptions,
  UpdateOutcome,
} from "./task.js";

/** A step of the items, whose prompts name trained ones by their index. */
type StepOf = (
  items: readonly PreparedItem[],
  options: { gradient: boolean; scale: number },
) => Omit<NativeTrainStep, "trained">;

export class NativeParameters implements HeldParameters {
  readonly #engine: EngineClient;
  readonly #handle: TrainedHandle;
  readonly #stepOf: StepOf;

  private constructor(engine: EngineClient, handle: TrainedHandle, stepOf: StepOf) {
    this.#engine = engine;
    this.#handle = handle;
    this.#stepOf = stepOf;
  }

  /** Throws OUT_OF_MEMORY, DEVICE_UNAVAILABLE, CLOSED. */
  static async create(
    engine: EngineClient,
    { values, adam: { updates, first, second } }: ParameterNumbers,
    stepOf: StepOf,
  ): Promise<NativeParameters> {
    const handle = await engine.createTrained({ values, first, second, updates });
    return new NativeParameters(engine, handle, stepOf);
  }

  async loss(
    items: readonly PreparedItem[],
    { gradient, scale, signal }: { gradient: "none" | "first" | "more"; scale: number; signal?: AbortSignal },
  ): Promise<Losses> {
    const step = this.#stepOf(items, { gradient: gradient !== "none", scale });
    const trained = { prompts: this.#handle, accumulate: gradient === "more" };
    const { losses, rowsComputed } = await this.#engine.train({ ...step, trained }, signal);
    return { losses, rowsComputed };
  }

  update({
    learningRate,
    maxGradientNorm,
    betas,
    epsilon,
    weightDecay,
  }: UpdateOptions): Promise<UpdateOutcome> {
    const [beta1, beta2] = betas;
    const maxNorm = maxGradientNorm ?? Number.POSITIVE_INFINITY;
    return this.#engine.updateTrained(this.#handle, {
      learningRate,
      beta1,
      beta2,
      epsilon,
      weightDecay,
      maxNorm,
    });
  }

  async values(): Promise<Float32Array[]> {
    return (await this.#read("values")).numbers;
  }

  async numbers(): Promise<ParameterNumbers> {
    const values = await this.#read("values");
    const first = await this.#read("first");
    const second = await this.#read("second");
    const { updates } = values;
    if (second.updates !== updates) throw new InternalError("Trained prompts were read during an update.");
    return { values: values.numbers, adam: { updates, first: first.numbers, second: second.numbers } };
  }

  #read(kind: TrainedKind): Promise<{ updates: number; numbers: Float32Array[] }> {
    return this.#engine.readTrained(this.#handle, kind);
  }

  close(): void {
    this.#engine.releaseTrained(this.#handle);
  }
}
