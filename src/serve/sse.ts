// SPDX-License-Identifier: Apache-2.0
// Server-sent events.

import type { Answered } from "./sending.js";

const sseHeaders = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache, no-transform",
  "x-accel-buffering": "no", // proxies of the nginx family hold streams back otherwise
};

export const dataOf = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`;
export const endOfStream = "data: [DONE]\n\n";

/** The answer whose pieces `pieces` yields, one event or several each; failures are for it to tell as events. */
export const sseAnswer = (pieces: AsyncIterator<string, undefined>): Answered => ({
  status: 200,
  headers: sseHeaders,
  body: pieces,
});
