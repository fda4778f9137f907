// SPDX-License-Identifier: Apache-2.0
// Progress of a training run: on a terminal one line that is written again for every step, elsewhere some twenty plain
// lines; evaluations and notes stay on lines of their own.

import type { Evaluation, TuneStep } from "../index.js";
import type { Terminal } from "./terminal.js";

export interface TuneProgress {
  report(step: TuneStep): void;
  /** Dev records that are done, of all. */
  evaluating(done: number, total: number): void;
  /** A line of its own. */
  note(text: string): void;
  /** Takes the live line away. */
  stop(): void;
}

const plainLines = 20;

export function formatSeconds(seconds: number): string {
  const whole = Math.round(seconds);
  const pad = (value: number) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}

const short = (value: number): string =>
  value !== 0 && Math.abs(value) < 0.01 ? value.toExponential(1) : String(Number(value.toPrecision(3)));

export function describeEvaluation({ step, epoch, devLoss, scores }: Evaluation): string {
  const figures = Object.entries(scores).map(([name, value]) => `, ${name} ${value.toFixed(1)}`);
  const place =
    step === 0 ? "before the first step" : `after step ${step} (epoch ${Number(epoch.toFixed(2))})`;
  return `dev loss ${devLoss.toFixed(3)}${figures.join("")} ${place}`;
}

export function describeStep(one: TuneStep): string {
  const { step, steps, epoch, loss, learningRate, gradientNorm, rows, rowsPerSecond, secondsLeft } = one;
  return [
    `step ${step}/${steps}`,
    `epoch ${epoch.toFixed(2)}`,
    `loss ${loss.toFixed(3)}`,
    `rate ${short(learningRate)}`,
    `gradient ${short(gradientNorm)}`,
    `rows ${rows.live} live ${rows.frozen} frozen (${rows.reused} reused)`,
    `${Math.round(rowsPerSecond)} rows/s`,
    `${formatSeconds(secondsLeft)} left`,
  ].join("  ");
}

export function createTuneProgress({ stderr }: Terminal): TuneProgress {
  const live = stderr.isTTY === true;
  const clear = live ? "\r\u001b[K" : "";
  const note = (text: string) => stderr.write(`${clear}${text}\n`);
  return {
    report(one) {
      if (one.before !== undefined) note(describeEvaluation(one.before));
      const { step, steps } = one;
      const isDue = step % Math.max(1, Math.floor(steps / plainLines)) === 0 || step === 1 || step === steps;
      if (live) stderr.write(`${clear}${describeStep(one)}`);
      else if (isDue) stderr.write(`${describeStep(one)}\n`);
      if (one.evaluation !== undefined) note(describeEvaluation(one.evaluation));
    },
    evaluating(done, total) {
      if (live) stderr.write(`${clear}dev data ${done}/${total}`);
      else if (done === total) stderr.write(`dev data ${done}/${total}\n`);
    },
    note,
    stop: () => {
      if (live) stderr.write(clear);
    },
  };
}
