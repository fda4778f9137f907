// SPDX-License-Identifier: Apache-2.0
// What happens around every route: a lease, the checks of who asks, and one way for every failure to become an answer.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { RequestVariables, ServeContext } from "./context.js";
import { toldFailure } from "./context.js";
import { ClientGoneError, ServeError, shuttingDown } from "./errors.js";
import type { Lease } from "./leases.js";
import type { RequestContext, Route } from "./route.js";
import type { Answered } from "./sending.js";
import { jsonAnswer } from "./sending.js";

/** What is known of where a request comes from; nothing of one that came by `fetch`. */
export interface Connection {
  incoming: IncomingMessage;
  outgoing: ServerResponse;
  /** The server is reached by loopback addresses alone. */
  local: boolean;
}

/** Names under which a server on a loopback address is asked. */
const loopbackName = /^(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?$/i;

const clientGone = 499;

/**
 * A page of any web site can send its readers' browsers to a loopback address under a name of its own. Where no key is
 * needed, the name is what tells such requests apart.
 */
function checkHost(c: RequestContext): void {
  const host = c.req.header("host");
  if (host === undefined || loopbackName.test(host)) return;
  throw new ServeError(
    403,
    "unknown_host",
    `The request is for the host ${JSON.stringify(host.slice(0, 64))}. This server has no keys and answers as localhost only.`,
  );
}

function failureOf(context: ServeContext, error: unknown, lease: Lease): Answered {
  if (error instanceof ClientGoneError || (lease.signal.aborted && !(error instanceof ServeError)))
    return { status: clientGone, headers: {}, body: "" };
  const failure = toldFailure(context, error);
  return jsonAnswer(failure.body, failure.status, failure.headers);
}

/** Has the lease aborted when the client goes away before it has its answer. */
function follow(lease: Lease, c: RequestContext, connection: Connection | null): void {
  if (connection === null) {
    lease.follow(c.req.raw.signal);
    return;
  }
  const { outgoing } = connection;
  outgoing.once("close", () => {
    if (!outgoing.writableFinished) lease.abort(new ClientGoneError());
  });
}

/** An answer whose lease is to be given back by whoever sends it. */
export async function answer(
  context: ServeContext,
  route: Route,
  c: RequestContext,
  connection: Connection | null,
): Promise<{ answered: Answered; lease: Lease }> {
  const began = performance.now();
  const { method, path } = route;
  let status = 0;
  const lease = context.leases.take(() => {
    const ms = performance.now() - began;
    context.metrics.answered(path, c.req.method, status, ms);
    context.log({ event: "request", method: c.req.method, path, status, ms });
  });
  let answered: Answered;
  try {
    if (context.leases.draining && route.always !== true)
      throw shuttingDown(context.gate.retryAfter, { connection: "close" });
    if (connection?.local === true && !context.keys.required) checkHost(c);
    const tenant = route.open === true ? {} : context.keys.identify(c.req.header("authorization"));
    if (method === "post") follow(lease, c, connection);
    const variables: RequestVariables = { lease, tenant, incoming: connection?.incoming ?? null };
    answered = await route.handle(context, c, variables);
  } catch (error) {
    answered = failureOf(context, error, lease);
  }
  status = answered.status;
  return { answered, lease };
}
