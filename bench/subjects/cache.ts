// SPDX-License-Identifier: Apache-2.0
// The life of cached rows, by the public handles: saved and restored, found again, forked, read back from a folder.
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Samples, Task, TrialSettings } from "../contract.js";
import { tokenIds } from "../tokens.js";
import { cached, generate, type Model, open, rate } from "./engine.js";
import { notes } from "./notes.js";

type Handle = ReturnType<Model["cache"]["open"]>;

const mebibyte = 1024 * 1024;
/** As the rival's: greedy, one token. */
const oneToken = { temperature: 0, maxTokens: 1, closers: [] };

/** A folder that is gone when `work` has ended. */
async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(path.join(tmpdir(), "baton-bench-cache-"));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function timed<T>(work: () => Promise<T> | T): Promise<{ ms: number; value: T }> {
  const start = performance.now();
  const value = await work();
  return { ms: performance.now() - start, value };
}

async function filled(model: Model, rows: number, seed = 1): Promise<Handle> {
  const handle = model.cache.open();
  await handle.append(tokenIds(rows, seed));
  return handle;
}

/** From nothing to the first token behind rows that are computed. */
async function computed(model: Model, rows: number, seed: number): Promise<number> {
  const { ms, value } = await timed(async () => {
    const handle = await filled(model, rows, seed);
    await handle.generate(oneToken).result;
    return handle;
  });
  value.close({ retain: "none" });
  return ms;
}

export async function measureSnapshot(
  { rows, repetitions, kvType }: Task & { kind: "snapshot" },
  settings: TrialSettings,
): Promise<Samples> {
  const { model } = await open(settings, { cacheBytes: 512 * mebibyte, ...(kvType && { kvType }) });
  const { samples, note } = notes();
  await inFolder(async (folder) => {
    const file = path.join(folder, "rows");
    for (let turn = -1; turn < repetitions; turn++) {
      const first = await computed(model, rows, turn + 3);
      const handle = await filled(model, rows);
      const saved = await timed(() => handle.snapshot(file));
      handle.close();
      const restored = await timed(() => model.cache.restore(file));
      const token = await timed(() => restored.value.generate(oneToken).result);
      restored.value.close();
      const bytes = statSync(file).size;
      rmSync(file);
      if (turn < 0) continue;
      note("save", saved.ms);
      note("restore", restored.ms);
      note("file", bytes / 1e6);
      note("first-token", restored.ms + token.ms);
      note("first-token-computed", first);
      note("gain", first / (restored.ms + token.ms));
    }
  });
  await model.close();
  return samples;
}

/** From an open handle to the first token behind rows that are not computed, all but the last ones. */
async function found(model: Model, rows: number, seed: number): Promise<number> {
  const handle = model.cache.open();
  const { ms, value } = await timed(async () => {
    const usage = await handle.append(tokenIds(rows, seed));
    await handle.generate(oneToken).result;
    return usage;
  });
  handle.close();
  if (value.rowsReused < rows - 2 * model.info.blockRows)
    throw new Error(`${value.rowsReused} of ${rows} rows were found`);
  return ms;
}

export async function measureReuse(
  { from, rows, repetitions }: Task & { kind: "reuse" },
  settings: TrialSettings,
): Promise<Samples> {
  const { samples, note } = notes();
  await inFolder(async (folder) => {
    const tiers = { disk: { folder, bytes: 1024 * mebibyte } };
    const cache = { cacheBytes: 512 * mebibyte, indexBytes: 256 * mebibyte };
    const options = { ...cache, restore: "always" as const, ...(from === "disk" && { tiers }) };
    for (let turn = -1; turn < repetitions; turn++) {
      const { model } = await open(settings, options);
      const first = await computed(model, rows, 100 + turn);
      (await filled(model, rows, turn + 3)).close();
      let again = model;
      if (from === "disk") {
        await model.close(); // the next process, as far as the cache can tell
        again = (await open(settings, options)).model;
        await computed(again, 64, 1); // the first forward is slower
      }
      const ms = await found(again, rows, turn + 3);
      const speed = again.stats().tiers[0]?.bytesPerSecond;
      await again.close();
      if (turn < 0) continue;
      note("first-token", ms);
      note("first-token-computed", first);
      note("gain", first / ms);
      if (speed !== undefined) note("tier-speed", speed / 1e9);
    }
  });
  return samples;
}

export async function measureBranches(
  { trunk, count, repetitions }: Task & { kind: "branches" },
  settings: TrialSettings,
): Promise<Samples> {
  const { model } = await open(settings, { cacheBytes: 512 * mebibyte });
  const { samples, note } = notes();
  const whole = await filled(model, trunk);
  whole.mark(); // closes what was written, as the first fork does
  const alone = model.stats().usedBytes;
  for (let turn = -1; turn < repetitions; turn++) {
    const forked = await timed(() => Array.from({ length: count }, () => whole.fork()));
    const branches = forked.value;
    await Promise.all(branches.map((one, at) => one.append(tokenIds(8, at + 2))));
    const held = model.stats().usedBytes;
    const [first, ...others] = branches as [Handle, ...Handle[]];
    const mark = first.mark();
    await first.append(tokenIds(8, 99));
    const rewound = await timed(() => first.rewind(mark));
    for (const one of [first, ...others]) one.close({ retain: "none" });
    if (turn < 0) continue;
    note("fork", (forked.ms * 1000) / count);
    note("rewind", rewound.ms * 1000);
    note("kv-held", held / alone);
    note("kv-left", model.stats().usedBytes / alone);
  }
  await model.close();
  return samples;
}

/** Decoding with and without blocks on their way to a folder. */
export async function measureMoving(
  { rows, context, tokens, repetitions }: Task & { kind: "moving" },
  settings: TrialSettings,
): Promise<Samples> {
  const { samples, note } = notes();
  await inFolder(async (folder) => {
    const { model } = await open(settings, {
      ...{ cacheBytes: 512 * mebibyte, indexBytes: 256 * mebibyte },
      tiers: { disk: { folder, bytes: 1024 * mebibyte } },
    });
    const read = await cached(model, context);
    const decode = async (moving: boolean, seed: number) => {
      const big = await cached(model, rows, seed);
      model.engine.releaseSegment(big, ...(moving ? [] : (["none"] as const)));
      const { arrivals } = await generate(model, { read, rows: context, opener: 1, count: tokens });
      const waits = arrivals.slice(1).map((one, i) => one.at - (arrivals[i]?.at ?? one.at));
      await model.cache.settled();
      return { speed: rate(arrivals), longest: Math.max(...waits) };
    };
    for (let turn = -1; turn < repetitions; turn++) {
      const alone = await decode(false, 2 * turn + 10);
      const beside = await decode(true, 2 * turn + 11);
      if (turn < 0) continue;
      note("decode-alone", alone.speed);
      note("decode-beside", beside.speed);
      note("kept", beside.speed / alone.speed);
      note("longest-alone", alone.longest);
      note("longest-beside", beside.longest);
    }
    await model.close();
  });
  return samples;
}
