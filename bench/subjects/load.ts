// SPDX-License-Identifier: Apache-2.0
// From importing the package to the first token, in a process that has done nothing before, with the file in the page
// cache; then what is resident. Of the whole process, and without what Node had before: both beside the file's size.
import { closeSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import type { Samples, Task, TrialSettings } from "../contract.js";
import { generate, open } from "./engine.js";

/** Bytes of this process in memory now, pages of mapped files among them. */
export function residentBytes(): number {
  const status = readFileSync("/proc/self/status", "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
}

export interface Loaded {
  /** Milliseconds. */
  firstToken: number;
  /** Bytes, before and after. */
  before: number;
  after: number;
}

/** What every subject reports of it. */
export function loadSamples({ firstToken, before, after }: Loaded, model: string): Samples {
  const { size } = statSync(model);
  return {
    "first-token": [firstToken],
    resident: [after / size],
    "resident-added": [(after - before) / size],
  };
}

/** Reads the whole file and keeps nothing of it. */
export function warmPageCache(model: string): void {
  const file = openSync(model, "r");
  const buffer = Buffer.alloc(1 << 20);
  while (readSync(file, buffer) > 0);
  closeSync(file);
}

export async function measureLoad(task: Task & { kind: "load" }, settings: TrialSettings): Promise<Samples> {
  warmPageCache(settings.model);
  const before = residentBytes();
  const origin = performance.now();
  const { model } = await open(settings);
  const [first] = (await generate(model, { rows: 0, opener: task.rows, count: 1, origin })).arrivals;
  if (first === undefined) throw new Error("no token came");
  const after = residentBytes();
  await model.close();
  return loadSamples({ firstToken: first.at, before, after }, settings.model);
}
