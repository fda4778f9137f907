// SPDX-License-Identifier: Apache-2.0
// How far something is, on standard error: on a terminal a bar with speed and time left, elsewhere a plain line when a phase
// begins and then one every few seconds.

import type * as CliProgress from "cli-progress";
import type { Progress } from "../index.js";
import { requireHere } from "../native/here.js";
import type { Terminal, TerminalStream } from "./terminal.js";
import { formatBytes } from "./terminal.js";

export interface ProgressView {
  report(progress: Progress): void;
  /** Takes the bar away. */
  stop(): void;
}

/** Milliseconds; the wall clock may jump. */
export type Clock = () => number;

export function formatSeconds(seconds: number): string {
  const whole = Math.round(seconds);
  const pad = (value: number) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}

const units: Partial<Record<Progress["phase"], string>> = {
  prefill: "rows",
  decode: "tokens",
  train: "steps",
  evaluate: "records",
  score: "records",
};

/** `40`, `3.1`: as many as a person reads. */
const round = (value: number) => (value < 10 ? value.toFixed(1) : String(Math.round(value)));

function formatAmount(phase: Progress["phase"], amount: number): string {
  const unit = units[phase];
  return unit === undefined
    ? formatBytes(Math.round(amount))
    : `${round(amount).replace(/\.0$/, "")} ${unit}`;
}

function describe(progress: Progress): string {
  if (!("source" in progress)) {
    const stage = "stage" in progress && progress.stage !== undefined ? `${progress.stage}: ` : "";
    return `${stage}${progress.phase}`;
  }
  const detail = "detail" in progress && progress.detail !== undefined ? ` ${progress.detail}` : "";
  return `${progress.source}: ${progress.phase}${detail}`;
}

const isMoving = ({ phase }: Progress) =>
  phase === "download" || phase === "unpack" || phase === "load" || units[phase] !== undefined;

/** One phase of one thing, and how fast it is since it began. */
class Pace {
  readonly label: string;
  readonly began: number;
  readonly #from: number;

  constructor({ done }: Progress, label: string, now: number) {
    this.label = label;
    this.began = now;
    this.#from = done;
  }

  /** `, 12.3 MiB/s, 0:07 left`; "" while there is too little to go by. */
  figures({ phase, done, total }: Progress, now: number): string {
    const seconds = (now - this.began) / 1000;
    const perSecond = (done - this.#from) / seconds;
    if (seconds < 0.5 || !(perSecond > 0)) return "";
    const left = total === undefined ? "" : `, ${formatSeconds((total - done) / perSecond)} left`;
    return `, ${formatAmount(phase, perSecond)}/s${left}`;
  }
}

const isEnd = ({ done, total }: Progress) => total !== undefined && done >= total;

const silent: ProgressView = { report() {}, stop() {} };

/** `quiet`: nothing is shown. */
export function createProgress(
  { stderr }: Terminal,
  { quiet = false, now = () => performance.now() }: { quiet?: boolean; now?: Clock } = {},
): ProgressView {
  if (quiet) return silent;
  return stderr.isTTY === true ? barProgress(stderr, now) : lineProgress(stderr, now);
}

/** A phase that is over sooner gets no bar: it would only flicker. */
const barAfterMs = 300;

function barProgress(stderr: TerminalStream, now: Clock): ProgressView {
  let bar: CliProgress.SingleBar | null = null;
  let pace: Pace | null = null;
  const stop = () => {
    bar?.stop();
    bar = null;
    pace = null;
  };
  const begin = (total: number, done: number, payload: object) => {
    const format = "{label} [{bar}] {percentage} % of {size}{figures}";
    const stream = stderr as NodeJS.WritableStream;
    const { SingleBar } = requireHere("cli-progress") as typeof CliProgress;
    bar = new SingleBar({ format, stream, hideCursor: true, clearOnComplete: true });
    bar.start(total, done, payload);
    return bar;
  };
  return {
    report(progress) {
      const label = describe(progress);
      if (pace?.label !== label || !isMoving(progress)) stop();
      if (progress.phase === "failed") stderr.write(`${label}\n`);
      const { phase, done, total } = progress;
      if (!isMoving(progress) || total === undefined || total === 0) return;
      const time = now();
      pace ??= new Pace(progress, label, time);
      if (isEnd(progress)) return stop();
      if (bar === null && time - pace.began < barAfterMs) return;
      const payload = { label, size: formatAmount(phase, total), figures: pace.figures(progress, time) };
      if (bar === null) bar = begin(total, done, payload);
      else bar.update(done, payload);
    },
    stop,
  };
}

const lineEveryMs = 5000;

function lineProgress(stderr: TerminalStream, now: Clock): ProgressView {
  let pace: Pace | null = null;
  let written = 0;
  return {
    report(progress) {
      const label = describe(progress);
      const time = now();
      const { phase, done, total } = progress;
      if (pace?.label !== label) {
        pace = new Pace(progress, label, time);
        written = time;
        // what a run computes is told by its events, and mostly over before a line were read
        if (units[phase] === undefined)
          stderr.write(`${label}${total && isMoving(progress) ? ` of ${formatAmount(phase, total)}` : ""}\n`);
        return;
      }
      if (!isMoving(progress) || isEnd(progress) || time - written < lineEveryMs) return;
      written = time;
      const share = total === undefined || total === 0 ? "" : ` ${Math.floor((100 * done) / total)} % of`;
      const size = formatAmount(phase, total || done);
      stderr.write(`${label}${share} ${size}${pace.figures(progress, time)}\n`);
    },
    stop() {},
  };
}
