// SPDX-License-Identifier: Apache-2.0
// What commands that make prompts leave besides them: loss curves, a line on what was kept, the call that comes next.

import { join } from "node:path";
import type { Curves, Evaluation } from "../index.js";
import { drawCurves, formatSteps } from "../index.js";
import { writeWhole } from "../tune/files.js";
import { describeEvaluation } from "./tune-progress.js";

/** Paths of the loss curves and of the steps. */
export const curveFiles = (folder: string): [string, string] => [
  join(folder, "curves.svg"),
  join(folder, "steps.jsonl"),
];

/** Throws IoError. */
export async function writeCurves(folder: string, curves: Curves): Promise<void> {
  const encode = (text: string) => new TextEncoder().encode(text);
  const [drawn, listed] = curveFiles(folder);
  await writeWhole(drawn, encode(drawCurves(curves)));
  await writeWhole(listed, encode(formatSteps(curves)));
}

/** What the run has brought, in one line: the rows that are kept against those of the beginning. */
export function outcomeOf(step: number, evaluations: readonly Evaluation[]): string {
  const kept = evaluations.find((one) => one.step === step);
  const before = evaluations.find((one) => one.step === 0);
  const values = kept === undefined ? `after step ${step}` : describeEvaluation(kept);
  const first = kept === before || before === undefined ? "" : `; ${describeEvaluation(before)}`;
  return `kept: ${values}${first}`;
}

const shellWord = (text: string) =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replace(/'/g, "'\\''")}'`;

/** The call that runs the chain under its new prompts, and under those that it was tuned beside. */
export function nextCall(
  file: string,
  given: readonly string[],
  folders: readonly (readonly [string, string])[],
): string {
  const pairs = [...given, ...folders.map(([stage, path]) => `${stage}=${path || "."}`)];
  const options = pairs.map((pair) => `--prompt ${shellWord(pair)}`);
  return `baton run ${shellWord(file)} ${options.join(" ")} --input ...`;
}
