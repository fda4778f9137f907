// SPDX-License-Identifier: Apache-2.0
// The client of server.ts, in a process of its own: it sends what it is told to, so many times at once, and answers with
// the wall milliseconds of each.
import { Agent, request } from "node:http";

export interface Ask {
  url: string;
  body: string;
  count: number;
}

export interface Answer {
  wallMs: number[];
  /** Of all answers. */
  tokens: number;
}

const agent = new Agent({ keepAlive: true });

/** Counts tokens as usage tells them. */
function once({ url, body }: Ask): Promise<{ ms: number; tokens: number }> {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const sent = request(url, { method: "POST", agent, headers }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (part: string) => {
        text += part;
      });
      answer.on("end", () => {
        const ms = performance.now() - start;
        const tokens = /"completion_tokens":(\d+)/.exec(text)?.[1];
        if (answer.statusCode !== 200 || tokens === undefined) reject(new Error(text.slice(0, 500)));
        else resolve({ ms, tokens: Number(tokens) });
      });
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

process.on("message", async (ask: Ask) => {
  try {
    const answers = await Promise.all(Array.from({ length: ask.count }, () => once(ask)));
    const tokens = answers.reduce((sum, one) => sum + one.tokens, 0);
    process.send?.({ wallMs: answers.map(({ ms }) => ms), tokens } satisfies Answer);
  } catch (error) {
    process.send?.({ error: String(error) });
  }
});
