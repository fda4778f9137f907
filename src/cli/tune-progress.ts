// SPDX-License-Identifier: Apache-2.0
// Progress of a training run: on a terminal one line that is written again for every step, elsewhere some twenty plain
// lines; evaluations and notes stay on lines of their own.

import type { Evaluation, TuneProgress, TuneStep } from "../index.js";
import { formatSeconds } from "./progress.js";
import type { Terminal } from "./terminal.js";

export interface TuneView {
  report(step: TuneStep): void;
  /** Dev records that are done, of all; steps are told by `report`. */
  evaluating(progress: TuneProgress): void;
  /** A line of its own. */
  note(text: string): void;
  /** Takes the live line away. */
  stop(): void;
}

const plainLines = 20;

const short = (value: number): string =>
  value !== 0 && Math.abs(value) < 0.01 ? value.toExponential(1) : String(Number(value.toPrecision(3)));

export function describeEvaluation({ step, epoch, devLoss, scores }: Evaluation): string {
  const figures = Object.entries(scores).map(([name, value]) => `, ${name} ${value.toFixed(1)}`);
  const place =
    step === 0 ? "before the first step" : `after step ${step} (epoch ${Number(epoch.toFixed(2))})`;
  return `dev loss ${devLoss.toFixed(3)}${figures.join("")} ${place}`;
}

/** Parts of the line with how early each goes when the line is too narrow: the highest first. */
function partsOf(one: TuneStep): [string, number][] {
  const { step, steps, epoch, loss, learningRate, gradientNorm, rows, rowsPerSecond, secondsLeft } = one;
  return [
    [`step ${step}/${steps}`, 0],
    [`epoch ${epoch.toFixed(2)}`, 3],
    [`loss ${loss.toFixed(3)}`, 1],
    [`rate ${short(learningRate)}`, 5],
    [`gradient ${short(gradientNorm)}`, 6],
    [`rows ${rows.live} live ${rows.frozen} frozen (${rows.reused} reused)`, 7],
    [`${Math.round(rowsPerSecond)} rows/s`, 4],
    [`${formatSeconds(secondsLeft)} left`, 2],
  ];
}

/** In at most `width` characters: a line that a terminal wraps could not be written again. */
export function describeStep(one: TuneStep, width = Number.POSITIVE_INFINITY): string {
  const parts = partsOf(one);
  const line = () => parts.map(([text]) => text).join("  ");
  while (parts.length > 1 && line().length > width) {
    const first = Math.max(...parts.map(([, order]) => order));
    parts.splice(
      parts.findIndex(([, order]) => order === first),
      1,
    );
  }
  return line();
}

/** `quiet`: only what was asked for by name is said, evaluations and notes. */
export function createTuneProgress({ stderr }: Terminal, quiet = false): TuneView {
  const live = stderr.isTTY === true && !quiet;
  const clear = live ? "\r\u001b[K" : "";
  const note = (text: string) => stderr.write(`${clear}${text}\n`);
  return {
    report(one) {
      if (one.before !== undefined) note(describeEvaluation(one.before));
      const { step, steps } = one;
      const isDue = step % Math.max(1, Math.floor(steps / plainLines)) === 0 || step === 1 || step === steps;
      if (live) stderr.write(`${clear}${describeStep(one, (stderr.columns ?? 80) - 1)}`);
      else if (isDue && !quiet) stderr.write(`${describeStep(one)}\n`);
      if (one.evaluation !== undefined) note(describeEvaluation(one.evaluation));
    },
    evaluating({ phase, done, total }) {
      if (phase === "train" || quiet) return;
      const text = `${phase === "evaluate" ? "dev data" : "scored"} ${done}/${total}`;
      if (live) stderr.write(`${clear}${text}`);
      else if (done === total) stderr.write(`${text}\n`);
    },
    note,
    stop: () => {
      if (live) stderr.write(clear);
    },
  };
}
