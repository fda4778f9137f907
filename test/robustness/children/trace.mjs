// SPDX-License-Identifier: Apache-2.0
// Runs models under BATON_TRACE, and ends in the way that the first argument names.

import { Worker } from "node:worker_threads";
import { generate, generateForever, openTiny, pause } from "./tiny.mjs";

const ways = {
  closed: async () => {
    const engine = await openTiny();
    await generate(engine);
    await engine.close();
    process.exitCode = 0;
  },
  // Closed, then opened again: the same file goes on.
  again: async () => {
    for (let turn = 0; turn < 3; turn++) await ways.closed();
  },
  "never-closed": async () => generate(await openTiny()),
  "exit-while-streaming": async () => {
    const engine = await openTiny();
    await new Promise((resolve) => {
      generateForever(engine, resolve).catch(() => {});
    });
    await pause(20);
    process.exit(7);
  },
  // Until somebody ends the process.
  forever: async () => {
    const engine = await openTiny();
    console.log("open");
    await generateForever(engine, () => {});
  },
  "two-models-and-a-worker": async () => {
    const engines = await Promise.all([openTiny(), openTiny({ threads: 1 })]);
    const worker = new Worker(new URL("./trace-worker.mjs", import.meta.url));
    const ended = new Promise((resolve, reject) => worker.on("exit", resolve).on("error", reject));
    await Promise.all(engines.map((engine) => generate(engine)));
    await ended;
    for (const engine of engines) await engine.close();
  },
};

await ways[process.argv[2]]();
