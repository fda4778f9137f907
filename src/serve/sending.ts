// SPDX-License-Identifier: Apache-2.0
// How an answer leaves: written to a connection of Node's, which is the short way, or as a Response for whoever called
// `fetch`. A stream is pulled: a piece is made when the connection has taken the one before, so nothing piles up here,
// whoever reads how slowly. A reader that goes away, or reads nothing for too long, ends the work behind it.

import type { ServerResponse } from "node:http";
import { ClientGoneError } from "./errors.js";
import type { Lease } from "./leases.js";

export interface Answered {
  status: number;
  headers: Readonly<Record<string, string>>;
  /** Whole, or in pieces. */
  body: string | AsyncIterator<string, undefined>;
}

export const jsonAnswer = (
  value: unknown,
  status = 200,
  headers: Readonly<Record<string, string>> = {},
): Answered => ({
  status,
  headers: { "content-type": "application/json", ...headers },
  body: JSON.stringify(value),
});

/** Resolves when it has all been handed to the system, or nobody is there to read it. */
export function sendTo(
  outgoing: ServerResponse,
  { status, headers, body }: Answered,
  lease: Lease,
  stallMs: number,
): void {
  if (typeof body === "string") {
    outgoing.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) });
    outgoing.end(body);
    lease.end();
    return;
  }
  outgoing.writeHead(status, headers);
  void sendPieces(outgoing, body, lease, stallMs);
}

async function sendPieces(
  outgoing: ServerResponse,
  pieces: AsyncIterator<string, undefined>,
  lease: Lease,
  stallMs: number,
): Promise<void> {
  let awake: () => void = () => {};
  const wake = () => awake();
  outgoing.on("drain", wake);
  outgoing.on("close", wake);
  /** Waits until `done`; who reads nothing meanwhile is cut off. */
  const until = async (done: () => boolean) => {
    const timer = setTimeout(() => outgoing.destroy(), stallMs);
    while (!done() && !outgoing.closed && !outgoing.destroyed) {
      await new Promise<void>((resolve) => {
        awake = resolve;
      });
    }
    clearTimeout(timer);
  };
  try {
    while (!outgoing.destroyed) {
      const { done, value } = await pieces.next();
      if (done === true) break;
      if (!outgoing.write(value)) await until(() => !outgoing.writableNeedDrain);
    }
    outgoing.end();
    await until(() => outgoing.writableFinished);
  } catch {
    outgoing.destroy(); // pieces tell their failures themselves: this is none of theirs
  } finally {
    lease.abort(new ClientGoneError());
    await pieces.return?.().catch(() => {});
    lease.end();
  }
}

/** The same as a Response. `stallMs` counts from when a piece is there until it is taken. */
export function responseOf({ status, headers, body }: Answered, lease: Lease, stallMs: number): Response {
  if (typeof body === "string") {
    lease.end();
    return new Response(body, { status, headers });
  }
  return new Response(streamOf(body, lease, stallMs), { status, headers });
}

const encoder = new TextEncoder();

function streamOf(
  pieces: AsyncIterator<string, undefined>,
  lease: Lease,
  stallMs: number,
): ReadableStream<Uint8Array> {
  let timer: NodeJS.Timeout | undefined;
  const end = async (reason?: unknown) => {
    clearTimeout(timer);
    lease.abort(reason);
    await pieces.return?.().catch(() => {});
    lease.end();
  };
  const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
    clearTimeout(timer);
    const { done, value } = await pieces.next();
    if (done === true) {
      controller.close();
      return end();
    }
    controller.enqueue(encoder.encode(value));
    timer = setTimeout(() => {
      const error = new ClientGoneError(`The client read nothing for ${stallMs} ms.`);
      controller.error(error);
      void end(error);
    }, stallMs);
  };
  return new ReadableStream<Uint8Array>({ pull, cancel: end }, { highWaterMark: 0 });
}
