// SPDX-License-Identifier: Apache-2.0
// Fuzzes the readers of files from anywhere (test/native/fuzz/targets.cpp), with libFuzzer under ASan and UBSan where there
// is a clang++ that has it, else with seeded mutations of the sound inputs under the sanitizers of the default compiler. The
// corpus grows in build-cmake/fuzz/TARGET, and an input that breaks a reader is left beside it. The last line is JSON.
//
//   npm run fuzz -- TARGET... [--seconds N] [--executions N] [--seed N]
//
// All targets if none is named; each for 60 seconds, or until that many inputs were read where that is sooner.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { buildNative } from "./build-native.mjs";
import { entry, root, Stop, say } from "./lib/run.mjs";

const targets = ["gguf", "safetensors", "json", "hugging-face", "snapshot", "disk-tier"];
const program = 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }';

function hasLibFuzzer() {
  const args = ["-x", "c++", "-", "-fsanitize=fuzzer,address,undefined", "-o", "/dev/null"];
  return spawnSync("clang++", args, { input: program }).status === 0;
}

/** Runs one target; what it did, or null where it found something. */
function run(fuzz, target, { seconds, executions: most, seed, libFuzzer }) {
  const folder = path.join(root, "build-cmake/fuzz", target);
  const seeds = path.join(folder, "seeds");
  const corpus = path.join(folder, "corpus");
  for (const made of [seeds, corpus]) mkdirSync(made, { recursive: true });
  const ends = [`-max_total_time=${seconds}`, `-runs=${most}`];
  const options = [...ends, `-seed=${seed}`, "-print_final_stats=1", "-verbosity=1"];
  const began = performance.now();
  const limits = ["-rss_limit_mb=2048", "-timeout=20", "-max_len=65536", `-artifact_prefix=${folder}/`];
  const done = spawnSync(fuzz, libFuzzer ? [...options, ...limits, corpus, seeds] : [], {
    encoding: "utf8",
    maxBuffer: 256 << 20,
    env: {
      ...process.env,
      ...(existsSync("/dev/shm") ? { TMPDIR: "/dev/shm" } : {}), // targets that read files write thousands a second
      BATON_FUZZ_TARGET: target,
      BATON_FUZZ_SECONDS: String(seconds),
      BATON_FUZZ_SEED: String(seed),
      BATON_FUZZ_SEEDS: seeds,
      ASAN_OPTIONS: "detect_leaks=1:allocator_may_return_null=1",
      UBSAN_OPTIONS: "halt_on_error=1:print_stacktrace=1",
    },
  });
  const figure = (pattern) => Number(pattern.exec(done.stdout + done.stderr)?.[1] ?? Number.NaN);
  const executions = libFuzzer ? figure(/number_of_executed_units:\s*(\d+)/) : figure(/: (\d+) executions/);
  if (/libFuzzer: run interrupted/.test(done.stderr))
    throw new Stop(`${target} was interrupted after ${executions} executions; nothing was found`);
  if (done.status !== 0) {
    console.log((done.stdout + done.stderr).split("\n").slice(-60).join("\n"));
    return null;
  }
  return { target, executions, seconds: Math.round((performance.now() - began) / 1000), seed };
}

await entry(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: "string", default: "60" },
      executions: { type: "string", default: "-1" }, // as libFuzzer has it: without end
      seed: { type: "string", default: "1" },
    },
  });
  const [seconds, executions, seed] = [values.seconds, values.executions, values.seed].map(Number);
  if (!(seconds >= 1) || !Number.isInteger(executions) || !Number.isInteger(seed))
    throw new Stop("--seconds, --executions and --seed take numbers");
  const unknown = positionals.find((one) => !targets.includes(one));
  if (unknown !== undefined)
    throw new Stop(`there is no target "${unknown}"; there are ${targets.join(", ")}`);
  const libFuzzer = hasLibFuzzer();
  say(
    libFuzzer
      ? "building with libFuzzer, ASan and UBSan"
      : "no clang++ with libFuzzer here: seeded mutations",
  );
  const sanitize = libFuzzer ? "address,undefined,fuzzer-no-link" : "address,undefined";
  const { fuzz } = await buildNative({ fuzz: true, sanitize, ...(libFuzzer ? { cxx: "clang++" } : {}) });
  if (!fuzz) throw new Stop("the build made no baton_fuzz");
  const runs = [];
  for (const target of positionals.length > 0 ? positionals : targets) {
    const done = run(fuzz, target, { seconds, executions, seed, libFuzzer });
    if (done === null) {
      say(`${target}: found something; see above, and build-cmake/fuzz/${target}`);
      return 1;
    }
    say(`${target}: ${done.executions} executions in ${done.seconds} s, nothing found`);
    runs.push(done);
  }
  const machine = os.cpus()[0]?.model ?? "";
  console.log(JSON.stringify({ engine: libFuzzer ? "libFuzzer" : "mutations", machine, runs }));
  return 0;
});
