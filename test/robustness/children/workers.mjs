// SPDX-License-Identifier: Apache-2.0
// Worker threads that end while their engines work. Prints what is left of them: threads, mappings, and whether the
// main thread's own engine still computes the same.

import { readdirSync, readFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { eventually, generate, openTiny, pause } from "./tiny.mjs";

const [mode, count] = [process.argv[2], Number(process.argv[3])];
const threads = () => readdirSync("/proc/self/task").length;
const mappings = () =>
  readFileSync("/proc/self/maps", "latin1")
    .split("\n")
    .filter((line) => line.includes(".gguf")).length;
const start = () => new Worker(new URL("worker.mjs", import.meta.url), { workerData: mode });
const firstMessage = (worker) =>
  new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
const exitOf = (worker) => new Promise((resolve) => worker.once("exit", resolve));

const engine = await openTiny();
const wanted = await generate(engine, { rows: 33, maxTokens: 60 });
const before = { threads: threads(), mappings: mappings() };

let ended = 0;
const outputs = [];
if (mode === "once") {
  const workers = Array.from({ length: count }, start);
  const exits = workers.map(exitOf);
  outputs.push(...(await Promise.all(workers.map(firstMessage))));
  ended = (await Promise.all(exits)).filter((code) => code === 0).length;
} else {
  for (let turn = 0; turn < count; turn += 2) {
    const workers = [start(), start()];
    const exits = workers.map(exitOf);
    await Promise.all(workers.map(firstMessage));
    await pause(Math.random() * 8);
    for (const worker of workers) worker.terminate();
    const codes = await Promise.all(exits);
    ended += codes.filter((code) => code === 1 || (mode === "close" && code === 0)).length;
  }
}

const same = JSON.stringify(await generate(engine, { rows: 33, maxTokens: 60 })) === JSON.stringify(wanted);
const gone = await eventually(() => threads() <= before.threads && mappings() === before.mappings);
await engine.close();
const agree = outputs.every((one) => JSON.stringify(one[1]) === JSON.stringify(wanted));
console.log(JSON.stringify({ ended, same, gone, agree, threads: [before.threads, threads()] }));
