// SPDX-License-Identifier: Apache-2.0
// Options of createServer, checked and completed before anything is opened.

import type { Model } from "../index.js";
import { OptionInvalidError } from "../index.js";
import type { ChainSource, ServableChain } from "./chains.js";

/** One line of the log. Keys, texts and names of sessions are never in it. */
export type LogEntry =
  | { event: "request"; method: string; path: string; status: number; ms: number; code?: string }
  | { event: "note"; message: string; error?: unknown };

export interface ServerOptions {
  /** Served under these names; they stay the caller's to close, after the server. */
  models?: Readonly<Record<string, Model>>;
  /** Served as `POST /v1/chains/{name}` and as the model `chain:name`; over any models, which need not be served. */
  chains?: Readonly<Record<string, ServableChain | ChainSource>>;
  /** A folder: PEFT prompt folders below it can be asked for by their path in it. */
  prompts?: string;
  /** Without keys everybody is served, and `listen` takes loopback addresses only. */
  keys?: readonly string[];
  /** Origins of web pages that may use the server, or "*"; default: none. */
  cors?: readonly string[];
  /** Most bytes of a request's body; default 1 MiB. */
  maxBodyBytes?: number;
  /** Most requests that compute at once; default 32. */
  maxConcurrent?: number;
  /** Most requests that wait for that; one more is refused with 429. Default 256. */
  maxQueued?: number;
  /** Tokens of an output whose request does not say how many; default 512. */
  defaultMaxTokens?: number;
  /** Most sessions at once; default 64. */
  maxSessions?: number;
  /** A session that nobody has used for so long is closed; default 15 minutes. */
  sessionIdleMs?: number;
  /** A client that reads nothing of its stream for so long is cut off; default one minute. */
  stallMs?: number;
  /** How often files of chains and prompts are looked at; 0: never by itself. Default 1000. */
  reloadMs?: number;
  /** Hears of every request and of what goes wrong. */
  log?: (entry: LogEntry) => void;
}

export interface CheckedOptions {
  readonly maxBodyBytes: number;
  readonly maxConcurrent: number;
  readonly maxQueued: number;
  readonly defaultMaxTokens: number;
  readonly maxSessions: number;
  readonly sessionIdleMs: number;
  readonly stallMs: number;
  readonly reloadMs: number;
  readonly cors: readonly string[];
}

type NumberOption = Exclude<keyof CheckedOptions, "cors">;

/** Default and least value. */
const numbers: Readonly<Record<NumberOption, readonly [number, number]>> = {
  maxBodyBytes: [1 << 20, 1024],
  maxConcurrent: [32, 1],
  maxQueued: [256, 0],
  defaultMaxTokens: [512, 1],
  maxSessions: [64, 1],
  sessionIdleMs: [15 * 60_000, 1],
  stallMs: [60_000, 1],
  reloadMs: [1000, 0],
};

const most = 2 ** 31 - 1; // what timers take

function invalid(option: string, value: unknown, expected: string): OptionInvalidError {
  return new OptionInvalidError(`\`${option}\` is ${String(value)}, which must be ${expected}.`, {
    facts: { option, value: String(value) },
  });
}

/** Throws OPTION_INVALID naming option, value and range. */
export function checkOptions(options: ServerOptions): CheckedOptions {
  const known = ["models", "chains", "prompts", "keys", "cors", "log", ...Object.keys(numbers)];
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown !== undefined) throw invalid(unknown, "given", `left out: known are ${known.join(", ")}`);
  const checked = {} as Record<NumberOption, number>;
  for (const name of Object.keys(numbers) as NumberOption[]) {
    const [fallback, least] = numbers[name];
    const value = options[name] ?? fallback;
    if (!Number.isInteger(value) || value < least || value > most)
      throw invalid(name, value, `a whole number from ${least} to ${most}`);
    checked[name] = value;
  }
  const cors = options.cors ?? [];
  for (const origin of cors) {
    if (origin !== "*" && !isOrigin(origin))
      throw invalid("cors", origin, 'an origin like "https://example.org", or "*"');
  }
  if (Object.keys(options.models ?? {}).length + Object.keys(options.chains ?? {}).length === 0) {
    throw invalid(
      "models",
      "empty",
      "at least one model, or `chains` at least one chain: there is nothing to serve",
    );
  }
  return { ...checked, cors };
}

function isOrigin(text: string): boolean {
  try {
    return new URL(text).origin === text;
  } catch {
    return false;
  }
}
