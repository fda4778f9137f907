// SPDX-License-Identifier: Apache-2.0
// What every route is given: what is served, and who may have how much of it.

import type { IncomingMessage } from "node:http";
import type { ResolvedPrompt } from "../model/prompt.js";
import type { Chains } from "./chains.js";
import type { ServeError } from "./errors.js";
import { serveErrorOf } from "./errors.js";
import type { Gate } from "./gate.js";
import type { ApiKeys, Tenant } from "./keys.js";
import type { Lease, Leases } from "./leases.js";
import type { Metrics } from "./metrics.js";
import type { ServedModel } from "./models.js";
import type { CheckedOptions, LogEntry } from "./options.js";
import type { Trunks } from "./places.js";
import type { Prompts } from "./prompts.js";
import type { Sessions } from "./sessions.js";

export interface ServeContext {
  readonly options: CheckedOptions;
  readonly models: ReadonlyMap<string, ServedModel>;
  readonly chains: Chains;
  readonly prompts: Prompts;
  readonly sessions: Sessions;
  readonly trunks: Trunks;
  readonly keys: ApiKeys;
  readonly gate: Gate;
  readonly leases: Leases;
  readonly metrics: Metrics;
  readonly log: (entry: LogEntry) => void;
  /** Unix seconds. */
  readonly startedAt: number;
  /** The OpenAPI document, made when it is first asked for. */
  document(): string;
  /** Of a named prompt for a model; undefined for null. Throws ServeError for a name that cannot be one, or is none. */
  promptRows(served: ServedModel, name: string | null, param: string): ResolvedPrompt | undefined;
}

/** What the client hears of a failure. What is the server's own business goes to its log. */
export function toldFailure({ gate, log }: ServeContext, error: unknown): ServeError {
  const failure = serveErrorOf(error, gate.retryAfter);
  if (failure.status >= 500 && failure.cause !== undefined)
    log({ event: "note", message: failure.message, error: failure.cause });
  return failure;
}

/** What is known of a request when its route gets it. */
export interface RequestVariables {
  lease: Lease;
  tenant: Tenant;
  /** The connection's side of it; null for one that came by `fetch`. */
  incoming: IncomingMessage | null;
}
