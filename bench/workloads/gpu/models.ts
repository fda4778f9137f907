// SPDX-License-Identifier: Apache-2.0
// The models of the suite gpu: real shapes with random weights, so that a machine without a network has them. A short run
// takes those that are made and read in seconds, and one of eight billion parameters where it is about that one.
import type { SpeedModel } from "../../models/shapes.js";

export interface GpuModel {
  model: SpeedModel;
  /** e.g. "llama32-3b-Q4_0" */
  name: string;
}

const named = (shape: SpeedModel["shape"], type: SpeedModel["type"]): GpuModel => ({
  model: { shape, type },
  name: `${shape}-${type}`,
});

export const tiny = named("smollm2-135m", "Q8_0");
export const small = named("llama32-1b", "BF16");
export const middle = named("llama32-3b", "Q4_0");
export const large = named("llama3-8b", "BF16");

export const gpuModels = (quick: boolean): GpuModel[] =>
  quick
    ? [tiny, small, middle, large]
    : [
        tiny,
        named("smollm2-135m", "BF16"),
        small,
        named("llama32-1b", "Q8_0"),
        named("llama32-1b", "Q4_0"),
        named("llama32-3b", "BF16"),
        middle,
        large,
        named("llama3-8b", "Q4_0"),
      ];
