// SPDX-License-Identifier: Apache-2.0
// Parameters that are held by this process and updated by optimizer.ts: the reference of native-parameters.ts, for any
// task that says losses and gradients of values.

import { adamWStep, clipGradients, globalNorm } from "./optimizer.js";
import type {
  HeldParameters,
  Losses,
  ParameterNumbers,
  PreparedItem,
  TrainingTask,
  UpdateOptions,
  UpdateOutcome,
} from "./task.js";

const copies = (all: readonly Float32Array[]): Float32Array[] => all.map((one) => one.slice());

const copyOf = ({ values, adam }: ParameterNumbers): ParameterNumbers => {
  const { updates, first, second } = adam;
  return { values: copies(values), adam: { updates, first: copies(first), second: copies(second) } };
};

export class HostParameters implements HeldParameters {
  readonly #task: Pick<TrainingTask<never>, "loss">;
  readonly #numbers: ParameterNumbers;
  #gradients: Float32Array[] = [];

  constructor(task: Pick<TrainingTask<never>, "loss">, numbers: ParameterNumbers) {
    this.#task = task;
    this.#numbers = copyOf(numbers);
  }

  async loss(
    items: readonly PreparedItem[],
    { gradient, ...options }: { gradient: "none" | "first" | "more"; scale: number; signal?: AbortSignal },
  ): Promise<Losses> {
    const asked = { gradient: gradient !== "none", ...options };
    const { gradients, ...losses } = await this.#task.loss(items, this.#numbers.values, asked);
    if (gradient === "first") this.#gradients = gradients;
    if (gradient === "more") addGradients(this.#gradients, gradients);
    return losses;
  }

  async update({ learningRate, maxGradientNorm, ...options }: UpdateOptions): Promise<UpdateOutcome> {
    const { values, adam } = this.#numbers;
    const norm = globalNorm(this.#gradients);
    if (!Number.isFinite(norm)) return { norm, finite: true };
    if (maxGradientNorm !== null) clipGradients(this.#gradients, norm, maxGradientNorm);
    adamWStep(values, this.#gradients, adam, learningRate, options);
    return { norm, finite: values.every((one) => one.every(Number.isFinite)) };
  }

  async values(): Promise<Float32Array[]> {
    return copies(this.#numbers.values);
  }

  async numbers(): Promise<ParameterNumbers> {
    return copyOf(this.#numbers);
  }

  close(): void {}
}

function addGradients(sum: readonly Float32Array[], gradients: readonly Float32Array[]): void {
  for (const [p, gradient] of gradients.entries()) {
    const total = sum[p] as Float32Array;
    for (let i = 0; i < total.length; i++) total[i] = (total[i] as number) + (gradient[i] as number);
  }
}
