// SPDX-License-Identifier: Apache-2.0
// Mixed work on one model for as long as it is told, and what the process has at the end that it had not after a while:
// memory, descriptors, threads, timers. Chains with several stages, cache handles that fork, rewind and are aborted, and
// tuning runs take turns at random, from a seed. The last line is JSON; the exit code is 1 where something grew.
//
//   npm run test:soak [-- --minutes N] [--model FILE] [--seed N]     1 minute on the tests' small model
//
// --work-only does the work and judges no memory, for programs that watch it otherwise (scripts/sanitize.mjs): theirs
// grows. It wants dist/ to be there.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { ensureTypeScript } from "./lib/ensure.mjs";
import { entry, root, Stop, say } from "./lib/run.mjs";

/** Of memory, between a third of the time and its end. */
const mostGrowth = 0.02;

/** A number in [0, 1) from a seed. */
function randomOf(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const residentBytes = () =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

function handles() {
  return {
    descriptors: readdirSync("/proc/self/fd").length,
    threads: readdirSync("/proc/self/task").length,
    resources: process.getActiveResourcesInfo().filter((name) => name !== "Immediate").length,
  };
}

const records = [
  { question: "How long?", answer: "eleven weeks" },
  { question: "Who built it?", answer: "Ada Lindqvist" },
];

/** Kinds of work; each leaves nothing. */
function workOf({ defineChain, tune }, model, random) {
  const closers = model.tokenizer.idOf?.("<|endoftext|>") === undefined ? undefined : ["<|endoftext|>"];
  const output = { maxTokens: 12, ...(closers ? { closers } : {}) };
  const passages = () =>
    "The harbour of Marsk freezes for eleven weeks a year. ".repeat(1 + Math.floor(random() * 6));
  const question = () => `How long, for the ${Math.floor(random() * 50)}th time?`;
  const chain = () =>
    defineChain(model)
      .input("question")
      .input("passages")
      .stage("short", { ...output, prompt: { text: "Shorten." }, own: ["passages"] })
      .stage("answer", { ...output, temperature: 0.8, seed: Math.floor(random() * 100) });
  const aborted = async (work) => {
    const controller = new AbortController();
    const reason = new Error("soak");
    setTimeout(() => controller.abort(reason), random() * 20);
    await work(controller.signal).catch((error) => {
      if (error !== reason) throw error;
    });
  };
  return {
    chain: () => chain().run({ question: question(), passages: passages() }).result,
    "chain, aborted": () =>
      aborted((signal) => chain().run({ question: question(), passages: passages() }, { signal }).result),
    handle: async () => {
      const handle = model.cache.open();
      await handle.append(passages());
      const mark = handle.mark();
      const fork = handle.fork();
      await Promise.all([
        handle.generate(output).result,
        fork.generate({ ...output, temperature: 1 }).result,
      ]);
      fork.close();
      handle.rewind(mark);
      await handle.append(question());
      await aborted((signal) => handle.generate({ ...output, maxTokens: 100, signal }).result);
      handle.close();
    },
    tuning: async () => {
      const tuned = defineChain(model)
        .input("question")
        .stage("answer", { opener: "Answer:", maxTokens: 5, ...(closers ? { closers } : {}) });
      const stages = { answer: { virtualTokens: 4, init: { text: "Answer the question." } } };
      await tune(tuned, { stages, data: records, epochs: 1, batchSize: 2, frozenFolder: null }).result;
    },
  };
}

async function soak({ minutes, file, seed, workOnly }) {
  if (!workOnly) await ensureTypeScript();
  const baton = await import(pathToFileURL(path.join(root, "dist/index.js")).href);
  const model = await baton.loadModel(file, { threads: 2, cacheBytes: 16 << 20, maxConcurrentRuns: 4 });
  const random = randomOf(seed);
  const work = workOf(baton, model, random);
  const weights = { chain: 6, "chain, aborted": 3, handle: 4, tuning: 1 };
  const kinds = Object.entries(weights).flatMap(([kind, weight]) => Array(weight).fill(kind));
  const counts = {};
  const samples = [];
  const begin = performance.now();
  const end = begin + minutes * 60_000;
  const lane = async () => {
    while (performance.now() < end) {
      const kind = kinds[Math.floor(random() * kinds.length)];
      await work[kind]();
      counts[kind] = (counts[kind] ?? 0) + 1;
    }
  };
  const sampler = setInterval(
    () => {
      globalThis.gc();
      samples.push({ at: performance.now() - begin, bytes: residentBytes(), ...handles() });
    },
    Math.max(500, minutes * 300),
  );
  await Promise.all([lane(), lane(), lane()]);
  clearInterval(sampler);
  const { segments } = model.stats();
  await model.close();
  const third = samples.filter(({ at }) => at > (end - begin) / 3 && at <= ((end - begin) * 2) / 3);
  const last = samples.filter(({ at }) => at > ((end - begin) * 2) / 3);
  const middle = (list, name) => median(list.map((one) => one[name]));
  const growth = middle(last, "bytes") / middle(third, "bytes") - 1;
  const grew = ["descriptors", "threads", "resources"].filter(
    (name) => middle(last, name) > middle(third, name),
  );
  return {
    minutes,
    seed,
    model: path.basename(file),
    machine: os.cpus()[0]?.model ?? "",
    counts,
    samples: samples.length,
    residentMiB: [middle(third, "bytes"), middle(last, "bytes")].map(
      (bytes) => Math.round(bytes / 104857.6) / 10,
    ),
    growthPercent: Math.round(growth * 10_000) / 100,
    handles: { third: third.at(-1), last: last.at(-1) },
    grew,
    segments,
    passed: workOnly || (growth <= mostGrowth && grew.length === 0),
  };
}

await entry(async () => {
  if (globalThis.gc === undefined) {
    const again = [process.execPath, "--expose-gc", ...process.argv.slice(1)];
    return spawnSync(again[0], again.slice(1), { stdio: "inherit" }).status ?? 1;
  }
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "1" },
      seed: { type: "string", default: "1" },
      "work-only": { type: "boolean", default: false },
      model: { type: "string", default: path.join(root, "test/fixtures/tiny-llama/tiny-q8_0.gguf") },
    },
  });
  const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
  if (!(minutes > 0) || !Number.isInteger(seed)) throw new Stop("--minutes and --seed take numbers");
  const workOnly = values["work-only"];
  const report = await soak({ minutes, seed, file: path.resolve(values.model), workOnly });
  console.log(JSON.stringify(report));
  say(`${minutes} minutes: memory ${report.growthPercent} % more in the last third than in the one before`);
  return report.passed ? 0 : 1;
});
