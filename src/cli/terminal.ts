// SPDX-License-Identifier: Apache-2.0
// Where a command writes: results to standard output, everything about the way there to standard error. With --json
// standard output holds one JSON value and nothing else.

import { createRequire } from "node:module";
import type * as CliProgress from "cli-progress";
import type { LoadProgress } from "../model/options.js";

export interface TerminalStream {
  write(text: string): unknown;
  isTTY?: boolean;
  /** Characters in a line of a terminal. */
  columns?: number;
}

export interface Terminal {
  stdout: TerminalStream;
  stderr: TerminalStream;
}

export interface Progress {
  report(progress: LoadProgress): void;
  /** Takes the bar away. */
  stop(): void;
}

const mebibyte = 1024 * 1024;

export function formatBytes(bytes: number): string {
  if (bytes >= 1024 * mebibyte) return `${(bytes / 1024 / mebibyte).toFixed(2)} GiB`;
  if (bytes >= mebibyte) return `${(bytes / mebibyte).toFixed(1)} MiB`;
  return bytes >= 1024 ? `${(bytes / 1024).toFixed(1)} KiB` : `${bytes} B`;
}

function describe({ source, phase, ...rest }: LoadProgress): string {
  const detail = "detail" in rest && rest.detail !== undefined ? ` ${rest.detail}` : "";
  return `${source}: ${phase}${detail}`;
}

const moving = ({ phase }: LoadProgress) => phase === "download" || phase === "unpack" || phase === "load";

/** A bar on a terminal; elsewhere one plain line per phase and per tenth of a download. */
export function createProgress({ stderr }: Terminal): Progress {
  return stderr.isTTY === true ? barProgress(stderr) : lineProgress(stderr);
}

function barProgress(stderr: TerminalStream): Progress {
  let bar: CliProgress.SingleBar | null = null;
  let label = "";
  const stop = () => {
    bar?.stop();
    bar = null;
  };
  const begin = (total: number) => {
    const format = "{label} [{bar}] {percentage} % of {size}";
    const stream = stderr as NodeJS.WritableStream;
    const { SingleBar } = createRequire(import.meta.url)("cli-progress") as typeof CliProgress;
    bar = new SingleBar({ format, stream, hideCursor: true, clearOnComplete: true });
    bar.start(total, 0, { label, size: formatBytes(total) });
  };
  return {
    report(progress) {
      const next = describe(progress);
      if (next !== label || !moving(progress)) stop();
      label = next;
      if (progress.phase === "failed") stderr.write(`${label}\n`);
      if (!moving(progress) || progress.total === undefined || progress.total === 0) return;
      if (bar === null) begin(progress.total);
      bar?.update(progress.bytes);
    },
    stop,
  };
}

function lineProgress(stderr: TerminalStream): Progress {
  let last = "";
  return {
    report(progress) {
      const { bytes, total, phase } = progress;
      const share =
        total !== undefined && total > 0 && bytes > 0 && phase !== "load"
          ? Math.floor((10 * bytes) / total) * 10
          : null;
      const figure =
        share === null ? "" : ` ${share} %${total === undefined ? "" : ` of ${formatBytes(total)}`}`;
      const line = `${describe(progress)}${figure}`;
      if (line !== last) stderr.write(`${line}\n`);
      last = line;
    },
    stop() {},
  };
}

/** Columns padded to their widest cell; the first row is the header. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  const line = (row: readonly string[]) =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ");
  return rows.map((row) => line(row).trimEnd()).join("\n");
}

export function writeJson({ stdout }: Terminal, value: unknown): void {
  const plain = (_: string, one: unknown) => (typeof one === "bigint" ? one.toString() : one);
  stdout.write(`${JSON.stringify(value, plain, 2)}\n`);
}
