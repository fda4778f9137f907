// SPDX-License-Identifier: Apache-2.0
// A chain as data: what everything that works on chains (runs, pictures, training) begins with.

import type { Model } from "../model/model.js";
import type { Step } from "./steps/step.js";
import type { Layout } from "./types.js";

export interface ChainDefinition {
  model: Model;
  layout: Layout;
  steps: readonly Step[];
}
