// SPDX-License-Identifier: Apache-2.0
// A chain as a Web-standard handler: a Request in, a Response out whose body is one JSON object a line, as they come. Whoever
// goes away ends the run, and its rows are free; whoever reads slowly is waited for.

import { BatonError } from "baton-lm";

/**
 * What the handler needs of a chain.
 * @typedef {object} Runnable
 * @property {(
 *   inputs: { question: string },
 *   options: { signal: AbortSignal },
 * ) => import("baton-lm").ChainRun<string>} run
 */

const lines = new TextEncoder();
const line = (/** @type {unknown} */ value) => lines.encode(`${JSON.stringify(value)}\n`);

/** @param {number} status @param {string} error */
const refusal = (status, error) => Response.json({ error }, { status });

/** @param {Runnable} chain @param {string} question @param {AbortSignal} signal */
async function* answer(chain, question, signal) {
  const run = chain.run({ question }, { signal });
  try {
    for await (const event of run) {
      if (event.type === "text-delta") yield line({ stage: event.stage, text: event.text });
    }
    const results = await run.result;
    const rows = Object.entries(results).map(([stage, { usage }]) => [stage, usage.rowsComputed]);
    yield line({ rowsComputed: Object.fromEntries(rows) });
  } catch (error) {
    if (!BatonError.isInstance(error)) throw error;
    yield line({ error: error.message, code: error.code });
  }
}

/**
 * `export const POST = createHandler(chain)` in Next.js, `app.post(path, ({ req }) => handle(req.raw))` in Hono.
 * @param {Runnable} chain
 * @returns {(request: Request) => Promise<Response>}
 */
export function createHandler(chain) {
  return async (request) => {
    const body = await request.json().catch(() => null);
    const question = body?.question;
    if (typeof question !== "string" || question === "" || question.length > 2000) {
      return refusal(400, "Send { question } with a text of 1 to 2,000 characters.");
    }
    const gone = new AbortController();
    const signal = AbortSignal.any([request.signal, gone.signal]);
    const parts = answer(chain, question, signal);
    const stream = new ReadableStream({
      async pull(controller) {
        const { value, done } = await parts.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: () => gone.abort(),
    });
    return new Response(stream, { headers: { "content-type": "application/x-ndjson" } });
  };
}
