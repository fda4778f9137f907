// SPDX-License-Identifier: Apache-2.0
// Many clients at once, each streaming one answer after another from a server in a process of its own: nobody hears an
// error, every stream is whole, and the server does not grow. BATON_SERVE_LOAD_SECONDS=600 is the long form,
// BATON_SERVE_LOAD_CLIENTS says how many.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ensureTypeScript } from "../../scripts/lib/ensure.mjs";
import { tinyPath } from "../chain/tiny-model.js";
import { metric, user } from "./support.js";

const seconds = Number(process.env.BATON_SERVE_LOAD_SECONDS ?? 4);
const clients = Number(process.env.BATON_SERVE_LOAD_CLIENTS ?? 64);

let folder = "";
let child: ChildProcess;
let url = "";
let log = "";
beforeAll(async () => {
  await ensureTypeScript();
  folder = mkdtempSync(join(tmpdir(), "baton-load-"));
  const options = { threads: 1, cacheBytes: 8 << 20 };
  const steps = [{ input: "question" }, { stage: "answer", maxTokens: 40, closers: ["<|endoftext|>"] }];
  writeFileSync(join(folder, "qa.json"), JSON.stringify({ model: tinyPath, options, steps }));
  const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
  const args = ["serve", "qa.json", "--port", "0", "--max-concurrent", "16", "--max-queued", String(clients)];
  child = spawn(process.execPath, [main, ...args, "--quiet"], { cwd: folder });
  child.stderr?.on("data", (part) => {
    log += part;
  });
  url = await new Promise<string>((resolve, reject) => {
    child.stdout?.on("data", (part) => resolve(/at (http:\S+)\/v1/.exec(String(part))?.[1] ?? ""));
    child.on("exit", () => reject(new Error(log)));
  });
});
afterAll(async () => {
  if (child.exitCode === null) {
    const ended = new Promise((resolve) => child.on("exit", resolve));
    child.kill("SIGTERM");
    await ended;
  }
  rmSync(folder, { recursive: true, force: true });
});

const mebibytes = () =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1]) / 1024;
const mean = (list: readonly number[]) => list.reduce((sum, one) => sum + one, 0) / Math.max(1, list.length);

/** How far the last quarter lies above the one that follows the first third, in which caches come to be filled. */
function growthOf(rss: readonly number[]): number {
  const settled = rss.slice(Math.floor(rss.length / 3));
  const quarter = Math.ceil(settled.length / 4);
  return mean(settled.slice(-quarter)) - mean(settled.slice(0, quarter));
}

test(
  `${clients} clients for ${seconds} s`,
  async ({ skip }) => {
    skip(process.platform !== "linux", "memory of another process is read from /proc");
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
    let [answers, left, tokens] = [0, 0, 0];
    const ask = async (at: number) => {
      const messages = [user(`${at % 50} The harbour of Marsk`)];
      const session = at % 8 === 0 ? { session: `s${at}` } : {};
      const stream = await client.chat.completions.create({
        ...{ model: "tiny-q8_0", messages, temperature: 0, max_tokens: 40, ignore_eos: true, ...session },
        ...{ stream: true as const, stream_options: { include_usage: true } },
      });
      let [length, reason] = [0, ""];
      for await (const chunk of stream) {
        reason = chunk.choices[0]?.finish_reason ?? reason;
        length = chunk.usage?.completion_tokens ?? length;
        if (at % 11 === 3 && reason === "") {
          left++; // some leave in the middle
          return;
        }
      }
      expect([reason, length]).toEqual(["length", 40]);
      answers++;
      tokens += length;
    };
    const until = performance.now() + seconds * 1000;
    const rss: number[] = [];
    const sampler = setInterval(() => rss.push(mebibytes()), Math.max(50, seconds * 5));
    await Promise.all(
      Array.from({ length: clients }, async (_, at) => {
        while (performance.now() < until) await ask(at);
      }),
    ).finally(() => clearInterval(sampler));
    const growth = growthOf(rss);
    console.log(
      `${answers} answers, ${left} left in the middle, ${tokens} tokens; the server had ${rss.at(-1)?.toFixed(0)} MiB and grew ` +
        `by ${growth.toFixed(1)} MiB`,
    );
    expect(answers).toBeGreaterThan(clients);
    expect(left).toBeGreaterThan(0);
    expect(log.split("\n").filter((line) => /failed|error/i.test(line))).toEqual([]);
    expect(growth).toBeLessThan(seconds < 60 ? 64 : 24); // in a few seconds compiled code still comes to be
    await expect.poll(() => metric(url, "baton_requests_in_progress")).toBe(1); // the one that asks
    await expect.poll(() => metric(url, "baton_computing")).toBe(0);
  },
  (seconds + 60) * 1000,
);
