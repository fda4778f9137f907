// SPDX-License-Identifier: Apache-2.0
// Every speed model that a run chose, with what its cases are called.
import type { Choice } from "../../contract.js";
import type { SpeedModel } from "../../models/shapes.js";

export interface Named {
  model: SpeedModel;
  /** e.g. "smollm2-135m-Q4_1" */
  name: string;
  /** A model of a billion parameters takes ten times as long. */
  isLarge: boolean;
}

export function speedModels({ shapes, types }: Choice): Named[] {
  return shapes.flatMap((shape) =>
    types.map((type) => ({
      model: { shape, type },
      name: `${shape}-${type}`,
      isLarge: shape !== "smollm2-135m",
    })),
  );
}
