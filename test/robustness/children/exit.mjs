// SPDX-License-Identifier: Apache-2.0
// Ends this process in the way that the first argument names, with a model open and mostly a run in flight.

import { generate, generateForever, openTiny, pause } from "./tiny.mjs";

/** Starts endless runs and waits until each has streamed. */
async function streaming(engine, runs = 3) {
  const started = Array.from(
    { length: runs },
    () =>
      new Promise((resolve, reject) => {
        generateForever(engine, resolve).catch(reject);
      }),
  );
  await Promise.all(started);
  await pause(Math.random() * 20);
}

const ways = {
  "open-model": () => openTiny(),
  "after-run": async () => generate(await openTiny()),
  "run-in-flight": async () => {
    const engine = await openTiny();
    generate(engine, { maxTokens: 400 }).then((tokens) => console.log(`tokens ${tokens.length}`));
  },
  closed: async () => {
    const engine = await openTiny();
    generateForever(engine, () => {}).catch((error) => console.log(error.code));
    await pause(5);
    await engine.close();
  },
  "exit-while-streaming": async () => {
    await streaming(await openTiny());
    process.exit(7);
  },
  "exit-in-event": async () => {
    const engine = await openTiny();
    await generate(engine, { onTokens: () => process.exit(7) });
  },
  "exit-while-loading": async () => {
    openTiny();
    await pause(Math.random() * 3);
    process.exit(7);
  },
  "exit-while-closing": async () => {
    const engine = await openTiny();
    streaming(engine).catch(() => {});
    await pause(10);
    engine.close();
    process.exit(7);
  },
  "exit-with-two-models": async () => {
    await Promise.all([streaming(await openTiny()), streaming(await openTiny())]);
    process.exit(7);
  },
  "uncaught-exception": async () => {
    await streaming(await openTiny());
    setTimeout(() => {
      throw new Error("on purpose");
    }, 1);
  },
  "unhandled-rejection": async () => {
    await streaming(await openTiny());
    Promise.reject(new Error("on purpose"));
  },
  "listener-throws": async () => {
    const engine = await openTiny();
    await generate(engine, {
      onTokens: () => {
        throw new Error("on purpose");
      },
    });
  },
  terminated: async () => {
    await streaming(await openTiny());
    process.kill(process.pid, "SIGTERM");
  },
};

await ways[process.argv[2]]();
