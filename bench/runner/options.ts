// SPDX-License-Identifier: Apache-2.0
// The command line of `npm run bench`. A wrong value is one sentence with what is allowed.
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import type { Choice } from "../contract.js";
import { cpuShapeNames, shapeNames, weightTypeNames } from "../models/shapes.js";

export class UsageError extends Error {}

export interface BenchOptions {
  suite: string;
  device: string;
  /** Names of the rivals to run. */
  rivals: string[];
  json: string | undefined;
  quick: boolean;
  /** Catalogue name or path. */
  model: string;
  threads: number;
  /** Folder of the chain data, if there is one. */
  data: string | undefined;
  /** Ids or workload names; empty is all. */
  only: string[];
  /** Longest wait for a quiet machine before each trial, ms. */
  patienceMs: number;
  /** Suite cpu: shapes and weight types of its speed models. */
  choice: Choice;
  /** Folder of speed models and references, kept for later runs. */
  models: string;
  /** Suite quality: one run of each variant per seed. */
  seeds: number[];
  /** Suite quality: folder of what is kept between sittings. */
  work: string;
  help: boolean;
}

export const usage = `usage: npm run bench -- [options]
  --suite NAME     suite to run: engine, cpu, cache, chain, train, ops or quality (default: engine)
  --device NAME    device of the engine (default: cpu)
  --rivals LIST    all, none, or names with commas between them (default: all); llama.cpp names all of its programs
  --json FILE      also write the report as JSON; quality: after every run, and a file that is there is continued
  --quick          fewer cases and trials
  --model NAME     catalogue name or GGUF file (default: smollm2-135m-instruct)
  --threads N      threads of every subject (default: all cores)
  --data DIR       chain data of the suites chain, train, quality (default: BATON_DATA); without it, what needs it is left out
  --only LIST      workloads or cases, e.g. decode,prefill-512; quality: cases or variants, e.g. reference,hotpot/shared;
                   ops: sections, e.g. linear,rows or "linear Q4_1"
  --patience S     longest wait for a quiet machine before a trial, seconds (default: 60, quick: 20); 0: take it as it is
  --shapes LIST    cpu: shapes of the models with random weights (default: ${cpuShapeNames.join(",")}; quick: the first)
  --types LIST     cpu: their weight types (default: ${weightTypeNames.join(",")}; quick: Q4_1,Q8_0)
  --models DIR     folder of models with random weights and of references (default: baton-bench-models in the temporary folder)
  --seeds LIST     quality: seeds, a run of each variant for each (default: 1,2,3)
  --work DIR       quality: folder of tuned prompts and frozen KV (default: baton-quality in the temporary folder)`;

function oneOf(option: string, value: string, allowed: readonly string[]): string {
  if (allowed.includes(value)) return value;
  throw new UsageError(`--${option} ${value}: must be ${allowed.join(" or ")}`);
}

function positive(option: string, value: string, least: number): number {
  const number = Number(value);
  if (Number.isInteger(number) && number >= least) return number;
  throw new UsageError(`--${option} ${value}: must be a whole number from ${least}`);
}

function rivalList(value: string, known: readonly string[]): string[] {
  if (value === "all") return [...known];
  if (value === "none") return [];
  return value.split(",").map((name) => oneOf("rivals", name, known));
}

function listOf<T extends string>(option: string, value: string, allowed: readonly T[]): T[] {
  return [...new Set(value.split(","))].map((name) => oneOf(option, name, allowed) as T);
}

function seedList(value: string): number[] {
  const seeds = value.split(",").map((one) => positive("seeds", one, 0));
  return [...new Set(seeds)];
}

/** The suite ops asks its program which sections there are. */
function only(suite: string, value: string | undefined, cases: readonly string[]): string[] {
  const names = value?.split(",") ?? [];
  return suite === "ops" ? names : names.map((name) => oneOf("only", name, cases));
}

export interface Known {
  suites: readonly string[];
  devices: readonly string[];
  rivals: readonly string[];
  /** Workload names and case ids. */
  cases: readonly string[];
}

/** As they were given, or their defaults. */
function given(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        suite: { type: "string", default: "engine" },
        device: { type: "string", default: "cpu" },
        rivals: { type: "string", default: "all" },
        json: { type: "string" },
        quick: { type: "boolean", default: false },
        model: { type: "string", default: "smollm2-135m-instruct" },
        threads: { type: "string" },
        data: { type: "string" },
        only: { type: "string" },
        patience: { type: "string" },
        shapes: { type: "string" },
        types: { type: "string" },
        models: { type: "string", default: path.join(os.tmpdir(), "baton-bench-models") },
        seeds: { type: "string", default: "1,2,3" },
        work: { type: "string", default: path.join(os.tmpdir(), "baton-quality") },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** Throws UsageError naming the option, the value and what is allowed. */
export function readOptions(args: string[], known: Known): BenchOptions {
  const values = given(args);
  const allShapes = values.quick ? (cpuShapeNames[0] as string) : cpuShapeNames.join(",");
  const allTypes = values.quick ? "Q4_1,Q8_0" : weightTypeNames.join(",");
  const patience = values.patience ?? (values.quick ? "20" : "60");
  return {
    suite: oneOf("suite", values.suite, known.suites),
    device: oneOf("device", values.device, known.devices),
    rivals: rivalList(values.rivals, known.rivals),
    json: values.json,
    quick: values.quick,
    model: values.model,
    threads: positive("threads", values.threads ?? String(os.availableParallelism()), 1),
    data: (values.data ?? process.env.BATON_DATA) || undefined, // empty counts as none
    only: only(values.suite, values.only, known.cases),
    patienceMs: positive("patience", patience, 0) * 1000,
    choice: {
      shapes: listOf("shapes", values.shapes ?? allShapes, shapeNames),
      types: listOf("types", values.types ?? allTypes, weightTypeNames),
    },
    models: path.resolve(values.models),
    seeds: seedList(values.seeds),
    work: path.resolve(values.work),
    help: values.help,
  };
}
