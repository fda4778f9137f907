// SPDX-License-Identifier: Apache-2.0
// Three open engines that have just worked and have nothing to do. Prints the CPU time that the process takes in 2 s.

import { generate, openTiny, pause } from "./tiny.mjs";

const engines = await Promise.all([openTiny(), openTiny(), openTiny({ threads: 4 })]);
await Promise.all(engines.map((engine) => generate(engine)));
await pause(200);
const before = process.cpuUsage();
await pause(2000);
const { user, system } = process.cpuUsage(before);
await Promise.all(engines.map((engine) => engine.close()));
console.log(JSON.stringify({ cpuMs: (user + system) / 1000 }));
