// SPDX-License-Identifier: Apache-2.0
// Measures a player: times around whole chains, rows and bytes from the engine's own counters. Nothing is found again
// from one chain in the next (`indexBytes: 0`), except the KV of prompts, which the first, unmeasured chain computes; and
// every token takes a forward of its own, so that what is compared is sharing alone.
import { readFileSync } from "node:fs";
import { type ForcedChain, rolesOf } from "../../chains/forced-chain.js";
import type { Samples, Task, TrialSettings } from "../../contract.js";
import { packageUrl } from "../../runner/paths.js";
import { median } from "../../runner/statistics.js";
import { Forcing, type Model, type Package, seedOf } from "./forcing.js";
import type { Player, Stage } from "./players.js";

/** Chains at once when nothing is timed: enough to fill batches, few enough for the default budget. */
const atOnce = 32;

export function readChains({ chains }: TrialSettings): ForcedChain[] {
  if (chains === undefined) throw new Error("the trial was given no chains");
  return JSON.parse(readFileSync(chains, "utf8")) as ForcedChain[];
}

/** Rows that went through a forward since the model was loaded. */
function rowsSoFar(model: Model): number {
  const { prefillRows, decodeRows } = model.activity();
  return prefillRows + decodeRows;
}

/** A chain of few rows with a turn of every role: computes prompts, wakes threads. */
export function warmUpChain(chains: readonly ForcedChain[]): ForcedChain {
  const word = chains[0]?.turns[0]?.tokens.slice(0, 1) ?? [];
  const text = " the";
  const piece = { text, tokens: word };
  return {
    inputs: [{ name: "text", ...piece }],
    turns: rolesOf(chains).map((role, i) => ({
      name: `turn${i}`,
      role,
      reads: ["text"],
      own: [],
      closes: true,
      ...piece,
    })),
  };
}

async function measureLines(stage: Stage, player: Player, chains: ForcedChain[]): Promise<Samples> {
  const before = rowsSoFar(stage.model);
  const handOvers: number[] = [];
  let total = 0;
  for (const [i, chain] of chains.entries()) {
    const run = i + 1;
    const start = performance.now();
    await player.line(chain, run);
    total += performance.now() - start;
    const last = chain.turns.length - 1;
    handOvers.push(stage.forcing.between(seedOf(run, last - 1), seedOf(run, last)));
  }
  const rows = (rowsSoFar(stage.model) - before) / chains.length;
  return { time: [total / chains.length], "hand-over": [median(handOvers)], rows: [rows] };
}

async function measureBranches(stage: Stage, player: Player, chains: ForcedChain[]): Promise<Samples> {
  const { model } = stage;
  const samples: Record<"time" | "rows" | "kv" | "kv-growth", number[]> = {
    time: [],
    rows: [],
    kv: [],
    "kv-growth": [],
  };
  for (const [i, chain] of chains.entries()) {
    await player.branches({ ...chain, turns: chain.turns.slice(0, 1) }, 2 * i + 1);
    const one = model.stats().peakBytes;
    const before = rowsSoFar(model);
    const start = performance.now();
    await player.branches(chain, 2 * i + 2);
    samples.time.push(performance.now() - start);
    samples.rows.push(rowsSoFar(model) - before);
    const all = model.stats().peakBytes;
    samples.kv.push(all / 1e6);
    samples["kv-growth"].push(all / one);
  }
  return samples;
}

async function measureRows({ model }: Stage, player: Player, chains: ForcedChain[]): Promise<Samples> {
  const before = rowsSoFar(model);
  const waiting = [...chains.entries()];
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      await player.line(next[1], next[0] + 1);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return { rows: [(rowsSoFar(model) - before) / chains.length] };
}

export async function measureChains(
  task: Task,
  settings: TrialSettings,
  makePlayer: (stage: Stage) => Player,
): Promise<Samples> {
  const chains = readChains(settings);
  const library = (await import(packageUrl)) as Package;
  const { device, threads } = settings;
  const options = { device: device as "cpu", threads, indexBytes: 0, drafting: "off" as const };
  const model = await library.loadModel(settings.model, options);
  const stage = { library, model, forcing: new Forcing(model) };
  const player = makePlayer(stage);
  await player.line(warmUpChain(chains), 0);
  try {
    switch (task.kind) {
      case "chain":
      case "rounds":
        return await measureLines(stage, player, chains);
      case "fan-out":
        return await measureBranches(stage, player, chains);
      case "rows":
        return await measureRows(stage, player, chains);
      default:
        throw new Error(`${task.kind} is no task with chains`);
    }
  } finally {
    await model.close();
  }
}
