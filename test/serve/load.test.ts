// SPDX-License-Identifier: Apache-2.0
// Many clients at once, each streaming one answer after another: nobody hears an error, every stream is whole, and the
// process does not grow. BATON_SERVE_LOAD_SECONDS=600 is the long form, BATON_SERVE_LOAD_CLIENTS says how many.

import { afterAll, beforeAll, expect, test } from "vitest";
import type { TestServer } from "./support.js";
import { eventually, greedy, startServer, user } from "./support.js";

const seconds = Number(process.env.BATON_SERVE_LOAD_SECONDS ?? 4);
const clients = Number(process.env.BATON_SERVE_LOAD_CLIENTS ?? 64);

let here: TestServer;
beforeAll(async () => {
  here = await startServer({
    load: { threads: 2, indexBytes: 2 << 20 },
    maxConcurrent: 16,
    maxQueued: clients,
  });
});
afterAll(() => here[Symbol.asyncDispose]());

const mebibytes = () => process.memoryUsage().rss / (1 << 20);

test(
  `${clients} clients for ${seconds} s`,
  async () => {
    const client = here.client();
    let [answers, tokens] = [0, 0];
    const ask = async (at: number) => {
      const body = { ...greedy, max_tokens: 40, messages: [user(`${at % 50} The harbour of Marsk`)] };
      const options = { stream: true as const, stream_options: { include_usage: true } };
      const session = at % 8 === 0 ? { session: `s${at % 64}` } : {};
      let last = 0;
      let reason = "";
      for await (const chunk of await client.chat.completions.create({ ...body, ...options, ...session })) {
        reason = chunk.choices[0]?.finish_reason ?? reason;
        last = chunk.usage?.completion_tokens ?? last;
        if (at % 11 === 0 && answers % 3 === 0) break; // some leave in the middle
      }
      if (at % 11 !== 0) expect([reason, last]).toEqual(["length", 40]);
      answers++;
      tokens += last;
    };
    const until = performance.now() + seconds * 1000;
    const rss: number[] = [];
    const sampler = setInterval(() => rss.push(mebibytes()), Math.max(100, seconds * 10));
    await Promise.all(
      Array.from({ length: clients }, async (_, at) => {
        while (performance.now() < until) await ask(at);
      }),
    );
    clearInterval(sampler);
    expect(answers).toBeGreaterThan(clients);
    expect(tokens).toBeGreaterThan(answers * 20);
    expect(here.logs.filter((entry) => entry.event === "note")).toEqual([]);
    expect(here.logs.every((entry) => entry.event !== "request" || [200, 409].includes(entry.status))).toBe(
      true,
    );
    here.logs.length = 0;
    // after a first third, in which buffers and compiled code come to be
    const settled = rss.slice(Math.floor(rss.length / 3));
    const middle = settled.slice(0, Math.ceil(settled.length / 4));
    const mean = (list: readonly number[]) =>
      list.reduce((sum, one) => sum + one, 0) / Math.max(1, list.length);
    const growth = mean(settled.slice(-Math.ceil(settled.length / 4))) - mean(middle);
    console.log(
      `${answers} answers, ${tokens} tokens, RSS ${rss.at(-1)?.toFixed(0)} MiB, grown by ${growth.toFixed(1)} MiB`,
    );
    expect(growth).toBeLessThan(64);
    const left = () => here.model.activity().jobs === 0;
    expect(await eventually(left)).toBe(true);
  },
  (seconds + 60) * 1000,
);
