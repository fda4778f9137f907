// SPDX-License-Identifier: Apache-2.0
import type { Samples } from "../contract.js";

/** Figures as they come. */
export function notes(): { samples: Samples; note: (name: string, value: number) => void } {
  const samples: Samples = {};
  const note = (name: string, value: number) => {
    const values = samples[name] ?? [];
    values.push(value);
    samples[name] = values;
  };
  return { samples, note };
}
