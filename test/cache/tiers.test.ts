// SPDX-License-Identifier: Apache-2.0
// Tiers, retention and pins as programs see them: what the next process does not compute again, what the events say of
// it, and what stays or goes when room is short.

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import type { ChainEvent, LoadOptions, Model } from "../../src/index.js";
import { defineChain, OptionInvalidError } from "../../src/index.js";
import { loadTiny, passages, question, rowsOf } from "../chain/tiny-model.js";
import { eventually } from "../robustness/support.js";

const open: Model[] = [];
const folders: string[] = [];
const newFolder = () => {
  const folder = mkdtempSync(join(tmpdir(), "baton-tiers-"));
  folders.push(folder);
  return folder;
};
async function load(options: LoadOptions = {}): Promise<Model> {
  const model = await loadTiny({ indexBytes: 4 << 20, batchInvariant: true, ...options });
  open.push(model);
  return model;
}
const withDisk = (folder: string, options: LoadOptions = {}) =>
  load({ tiers: { disk: { folder, bytes: 16 << 20 } }, restore: "always", ...options });

afterEach(async () => {
  for (const model of open.splice(0)) await model.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

const chainOf = (model: Model) =>
  defineChain(model)
    .input("question")
    .input("document", { alone: true })
    .stage("s", { maxTokens: 8, closers: ["<|endoftext|>"] });

async function runOf(model: Model) {
  const run = chainOf(model).run({ question, document: passages });
  const events: ChainEvent[] = [];
  for await (const event of run) events.push(event);
  const { text, usage } = (await run.result).s;
  const moves = events.flatMap((event) => (event.type === "cache-tier" ? [event] : []));
  return { text, usage, moves };
}

describe("the disk tier", () => {
  test("gives the next process what this one has computed, and the events say so", async () => {
    const folder = newFolder();
    const first = await withDisk(folder);
    const wanted = await runOf(first);
    expect(wanted.moves).toEqual([]);
    await first.close();

    const second = await withDisk(folder);
    const again = await runOf(second);
    expect(again.text).toBe(wanted.text);
    const rows = rowsOf(second, passages);
    const document = again.moves.find(({ segment }) => segment === "document");
    expect(document).toMatchObject({ stage: "s", tier: "disk", rows, restored: true });
    expect(document?.tookMs).toBeGreaterThan(0);
    expect(again.usage.rowsComputed).toBeLessThan(wanted.usage.rowsComputed - rows + 1);
    const { tiers } = second.cache.stats();
    expect(tiers).toHaveLength(1);
    expect(tiers[0]).toMatchObject({ name: "disk", writes: true, blocksDamaged: 0 });
    expect(tiers[0]?.blocksRead).toBeGreaterThanOrEqual(rows / 16);
    expect(tiers[0]?.usedBytes).toBeLessThanOrEqual(tiers[0]?.budgetBytes ?? 0);
  });

  test("is used by one model at a time", async () => {
    const folder = newFolder();
    const first = await withDisk(folder);
    await expect(withDisk(folder)).rejects.toMatchObject({ code: "IO" });
    await first.close();
    await withDisk(folder);
  });

  test.each<[string, LoadOptions]>([
    ["number format", { kvType: "f32" }],
    ["arithmetic", { activations: "float32" }],
    ["order of sums", { batchInvariant: false }],
  ])("gives nothing to a model with another %s", async (_, options) => {
    const folder = newFolder();
    const first = await withDisk(folder);
    await runOf(first);
    await first.close();
    const other = await withDisk(folder, options);
    expect((await runOf(other)).moves).toEqual([]);
    expect(readdirSync(folder).filter((name) => name.endsWith(".index"))).toHaveLength(2);
  });

  test("has what was let go once it is settled, without a close", async () => {
    const model = await withDisk(newFolder());
    await runOf(model);
    await model.cache.settled();
    expect(model.cache.stats().tiers[0]?.blocksWritten).toBeGreaterThan(0);
  });

  test("under a salt gives to nobody else", async () => {
    const folder = newFolder();
    const first = await withDisk(folder);
    using handle = first.cache.open({ salt: "a" });
    await handle.append(passages);
    handle.close();
    await first.close();
    const second = await withDisk(folder);
    const reusedOf = async (salt: string) => {
      using again = second.cache.open({ salt });
      const { rowsReused, tiers = [] } = await again.append(passages);
      return [rowsReused, tiers.map(({ tier, restored }) => [tier, restored])];
    };
    expect(await reusedOf("b")).toEqual([0, []]);
    expect(await reusedOf("a")).toEqual([expect.any(Number), [["disk", true]]]);
  });

  test.each<[string, unknown]>([
    ["tiers", 7],
    ["tiers", { tape: { bytes: 1 } }],
    ["tiers.disk.bytes", { disk: { folder: "x" } }],
    ["tiers.disk.bytes", { disk: { folder: "x", bytes: 0 } }],
    ["tiers.disk.folder", { disk: { bytes: 1 << 20 } }],
    ["tiers.host.bytes", { host: null }],
  ])("%s: %j is refused", async (option, tiers) => {
    await expect(load({ tiers: tiers as never })).rejects.toMatchObject({
      code: "OPTION_INVALID",
      facts: { option },
    });
  });

  test("without an index is refused", async () => {
    const loading = withDisk(newFolder(), { indexBytes: 0 });
    await expect(loading).rejects.toMatchObject({ facts: { option: "indexBytes" } });
  });

  test("in a folder that cannot be is an error that names it", async () => {
    const file = join(newFolder(), "file");
    writeFileSync(file, "x");
    const loading = load({ tiers: { disk: { folder: join(file, "below"), bytes: 1 << 20 } } });
    await expect(loading).rejects.toMatchObject({ code: "IO", facts: { path: join(file, "below") } });
  });
});

describe("retention", () => {
  const kept = (model: Model) => model.stats().blocksKept;

  test("of a handle that is finished keeps nothing", async () => {
    const model = await load();
    for (const end of [
      (handle: ReturnType<typeof model.cache.open>) => handle.close({ retain: "none" }),
      (handle: ReturnType<typeof model.cache.open>) => handle.close(),
    ]) {
      const handle = model.cache.open({ retain: "none" });
      await handle.append(passages);
      expect(model.stats().blocksUsed).toBeGreaterThan(0);
      end(handle);
      expect(model.stats().blocksUsed).toBe(0);
      expect(kept(model)).toBe(0);
    }
  });

  test("of a branch leaves the trunk alone", async () => {
    const model = await load();
    using trunk = model.cache.open();
    await trunk.append(passages);
    const branch = trunk.fork();
    await branch.append(question);
    const before = model.stats().blocksUsed;
    branch.close({ retain: "none" });
    expect(kept(model)).toBe(0);
    expect(model.stats().blocksUsed).toBeLessThan(before);
    expect(model.stats().blocksUsed).toBeGreaterThan(0);
  });

  test("of a run that nobody repeats keeps nothing of it", async () => {
    const model = await load();
    const run = chainOf(model).run({ question, document: passages }, { retain: "none" });
    await run.result;
    expect(kept(model)).toBe(0);
    expect(model.stats().segments).toBe(0);
  });

  test("of what will be resumed outlives everything else that is kept", async () => {
    const model = await loadTiny({ cacheBytes: 1 << 19, indexBytes: 1 << 18 });
    open.push(model);
    const trunk = model.cache.open();
    await trunk.append(question);
    trunk.close({ retain: { ms: 600_000 } });
    for (let branch = 0; branch < 30; branch += 1) {
      using other = model.cache.open();
      await other.append(Array.from({ length: 160 }, (_, at) => (at * 7 + branch) % 500));
    }
    using again = model.cache.open();
    expect((await again.append(question)).rowsReused).toBe(
      Math.floor((rowsOf(model, question) - 1) / 16) * 16,
    );
  });

  test.each([["all"], [{ ms: 0 }], [{ ms: "1" }], [null]])("%j is refused", async (retain) => {
    const model = await load();
    expect(() => model.cache.open({ retain: retain as never })).toThrow(OptionInvalidError);
    const run = chainOf(model).run({ question, document: passages }, { retain: retain as never });
    await expect(run.result).rejects.toMatchObject({ facts: { option: "retain" } });
  });
});

describe("a pin", () => {
  test("holds the rows without the handle, until it is released", async () => {
    const model = await load();
    const handle = model.cache.open();
    await handle.append(passages);
    const pin = handle.pin();
    handle.close();
    const held = model.stats().blocksUsed;
    expect(held).toBeGreaterThan(0);
    expect(pin.rows).toBe(rowsOf(model, passages));
    pin.release();
    pin.release();
    expect(pin.released).toBe(true);
    expect(model.stats().blocksUsed).toBe(0);
  });

  test("ends by itself when its time is over", async () => {
    const model = await load();
    using handle = model.cache.open();
    await handle.append(passages);
    const pin = handle.pin({ ms: 20 });
    handle.close();
    expect(await eventually(() => model.stats().blocksUsed === 0)).toBe(true);
    expect(pin.released).toBe(true);
  });

  test.each([[0], [-1], [Number.NaN], [2 ** 31], ["1"]])(
    "of %j ms is refused, and holds nothing",
    async (ms) => {
      const model = await load();
      using handle = model.cache.open();
      await handle.append(passages);
      expect(() => handle.pin({ ms: ms as number })).toThrow(OptionInvalidError);
      handle.close();
      expect(model.stats().blocksUsed).toBe(0);
    },
  );
});
