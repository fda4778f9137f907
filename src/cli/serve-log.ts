// SPDX-License-Identifier: Apache-2.0
// What a server says while it runs, on standard error: a line for each request and each note, for people or as JSON.

import { BatonError } from "../errors.js";
import type { LogEntry } from "../serve/index.js";
import type { Terminal } from "./terminal.js";

interface LogOptions {
  /** Notes alone. */
  quiet: boolean;
  /** One JSON object a line. */
  json: boolean;
}

function errorOf(error: unknown): { message: string; code?: string } {
  const message = error instanceof Error ? error.message : String(error);
  return BatonError.isInstance(error) ? { message, code: error.code } : { message };
}

function lineOf(entry: LogEntry): string {
  if (entry.event === "request") {
    const { method, path, status, ms } = entry;
    return `${method} ${path} ${status} ${ms.toFixed(1)} ms`;
  }
  if (entry.error === undefined) return entry.message;
  const { message, code } = errorOf(entry.error);
  return `${entry.message}: ${message}${code === undefined ? "" : ` [${code}]`}`;
}

function jsonOf(entry: LogEntry, time: string): string {
  if (entry.event === "request") return JSON.stringify({ time, ...entry });
  const { event, message, error } = entry;
  return JSON.stringify({ time, event, message, ...(error !== undefined && { error: errorOf(error) }) });
}

export function logTo({ stderr }: Terminal, { quiet, json }: LogOptions): (entry: LogEntry) => void {
  return (entry) => {
    if (quiet && entry.event === "request") return;
    const time = new Date().toISOString();
    stderr.write(`${json ? jsonOf(entry, time) : `${time} ${lineOf(entry)}`}\n`);
  };
}
