// SPDX-License-Identifier: Apache-2.0
// A compiler launcher that keeps what the compiler said beside the object: `keep-messages.mjs COMPILER ARGUMENTS...`
// writes `<object>.messages`, so that an incremental build still knows what ptxas said of every kernel.
import { spawnSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";

const [command, ...args] = process.argv.slice(2);
const object = args[args.indexOf("-o") + 1];
rmSync(`${object}.messages`, { force: true });
const done = spawnSync(command, args, {
  encoding: "utf8",
  maxBuffer: 256 << 20,
  stdio: ["ignore", "pipe", "pipe"],
});
if (done.error) process.stderr.write(`cannot start ${command}: ${done.error.message}\n`);
else process.stderr.write(done.status === 0 ? "" : done.stdout + done.stderr);
if (done.status === 0) writeFileSync(`${object}.messages`, done.stdout + done.stderr);
process.exitCode = done.status ?? 1;
