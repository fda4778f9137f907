// SPDX-License-Identifier: Apache-2.0
// A worker thread with a model of its own. `once`: three generations, then the tokens and an orderly end. `stream`:
// endless generations, a message each time tokens come. `load`: opens and closes models without end. `close`: closes
// a model with runs in flight and does not wait.

import { parentPort, workerData } from "node:worker_threads";
import { generate, generateForever, openTiny } from "./tiny.mjs";

const modes = {
  once: async () => {
    const engine = await openTiny();
    const outputs = await Promise.all([10, 33, 70].map((rows) => generate(engine, { rows, maxTokens: 60 })));
    await engine.close();
    parentPort.postMessage(outputs);
  },
  stream: async () => {
    const engine = await openTiny();
    const runs = Array.from({ length: 3 }, () =>
      generateForever(engine, () => parentPort.postMessage("tokens")),
    );
    await Promise.all(runs);
  },
  load: async () => {
    parentPort.postMessage("loading");
    for (;;) {
      const engine = await openTiny();
      await engine.close();
    }
  },
  close: async () => {
    const engine = await openTiny();
    const signalled = new Promise((resolve) => {
      generateForever(engine, resolve).catch(() => {});
    });
    await signalled;
    engine.close();
    parentPort.postMessage("closing");
  },
};

await modes[workerData]();
