// SPDX-License-Identifier: Apache-2.0
// What an installation takes: seconds, bytes on disk, and the first token. Medians of fresh installations and processes.
import { existsSync, lstatSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { Stop, say, userCache } from "../run.mjs";
import { addPrograms, emptyProject, install, programEnv, run } from "./project.mjs";

const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
const spread = (numbers) => ({
  median: median(numbers),
  least: Math.min(...numbers),
  most: Math.max(...numbers),
});
const installs = 5;
const imports = 11;

/** Bytes of all files of a folder. */
function bytesOf(folder) {
  return readdirSync(folder, { withFileTypes: true })
    .map((item) => path.join(folder, item.name))
    .reduce((sum, file) => sum + (lstatSync(file).isDirectory() ? bytesOf(file) : lstatSync(file).size), 0);
}

async function installTimes(context, folder) {
  await install(context, "npm", folder); // warms the cache
  const times = [];
  for (let turn = 0; turn < installs; turn++) {
    for (const name of ["node_modules", "package-lock.json"])
      rmSync(path.join(folder, name), { recursive: true });
    times.push((await install(context, "npm", folder)).ms);
  }
  return spread(times);
}

async function importTimes(folder) {
  const program =
    'const begin = performance.now(); await import("baton-lm"); console.log(performance.now() - begin);';
  const times = [];
  for (let turn = 0; turn <= imports; turn++) {
    const done = await run(process.execPath, ["--input-type=module", "-e", program], {
      cwd: folder,
      env: programEnv(),
    });
    if (done.code !== 0) throw new Stop(`the import ended with ${done.code}: ${done.text.slice(-2000)}`);
    if (turn > 0) times.push(Number(done.out)); // the first one reads the files from the disk
  }
  return spread(times);
}

/** Null where the default model is not in the user's cache: nothing is downloaded for a measurement. */
async function firstTokenTimes(folder) {
  const cache = path.join(userCache(), "models");
  if (!existsSync(cache) || !readdirSync(cache).some((name) => name.startsWith("smollm2-135m-instruct")))
    return null;
  addPrograms(folder, "first-token.mjs");
  const times = [];
  for (let turn = 0; turn < installs; turn++) {
    const done = await run(process.execPath, ["first-token.mjs"], { cwd: folder, env: programEnv() });
    if (done.code !== 0) throw new Stop(`first-token.mjs ended with ${done.code}: ${done.text.slice(-2000)}`);
    times.push(JSON.parse(done.out).firstTokenMs);
  }
  return spread(times);
}

/** @returns {Promise<object>} milliseconds and bytes */
export async function measure(context) {
  const folder = emptyProject(context.work, "timed", context.registry);
  const installMs = await installTimes(context, folder);
  const modules = path.join(folder, "node_modules");
  const [base, platform] = ["baton-lm", "@baton-lm"].map((name) => bytesOf(path.join(modules, name)));
  const bytes = { base, platform, dependencies: bytesOf(modules) - base - platform };
  const importMs = await importTimes(folder);
  const firstTokenMs = await firstTokenTimes(folder);
  const found = { installMs, firstTokenMs, importMs, bytes };
  say(JSON.stringify(found));
  return found;
}
