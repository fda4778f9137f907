// SPDX-License-Identifier: Apache-2.0
// A process that is killed (SIGKILL) while it writes a snapshot over another one and blocks into a disk tier: what the
// next process finds is the snapshot before or the one after, whole, and blocks that are what they claim to be, or
// nothing. BATON_SOAK_KILLS=N: as many times instead.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ensureTypeScript } from "../../scripts/lib/ensure.mjs";
import { loadTiny } from "../chain/tiny-model.js";

const kills = Number(process.env.BATON_SOAK_KILLS ?? 6);
const script = fileURLToPath(new URL("children/writer.mjs", import.meta.url));
let folder = "";
beforeAll(async () => {
  await ensureTypeScript();
  folder = mkdtempSync(join(tmpdir(), "baton-kills-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Lets it write for a while, from none of a round to several. */
async function writeAndKill(): Promise<void> {
  const child = spawn(process.execPath, [script, folder], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const ended = new Promise((resolve) => child.once("close", (_, signal) => resolve(signal)));
  await new Promise((resolve) => child.stdout.once("data", resolve));
  child.stdout.resume();
  setTimeout(() => child.kill("SIGKILL"), Math.random() * 60);
  expect(await ended, said).toBe("SIGKILL");
}

const idsOf = (round: number) => Array.from({ length: 300 }, (_, i) => (i * 37 + (round % 20) * 101) % 500);
const free = { maxTokens: 8, closers: ["<|endoftext|>"] };

test(`${kills} times: nothing torn`, { timeout: 120_000 + kills * 3000 }, async () => {
  let [restored, fromTier] = [0, 0];
  const fresh = await loadTiny();
  for (let turn = 0; turn < kills; turn++) {
    await writeAndKill();
    const path = join(folder, "kept.snapshot");
    const tier = { folder: join(folder, "tier"), bytes: 1 << 20 };
    const model = await loadTiny({
      cacheBytes: 4 << 20,
      indexBytes: 2 << 20,
      tiers: { disk: tier },
      restore: "always",
    });
    if (existsSync(path)) {
      const handle = await model.cache.restore(path);
      expect(handle.rows).toBe(300);
      handle.close();
      restored += 1;
    }
    // Content of every round that the tier may have: the same tokens as without it, to the last one.
    for (const round of [0, turn % 20]) {
      const [one, wanted] = [model.cache.open(), fresh.cache.open()];
      const { tiers = [] } = await one.append(idsOf(round));
      if (tiers.some((move) => move.restored)) fromTier += 1;
      await wanted.append(idsOf(round));
      const [said, expected] = [await one.generate(free).result, await wanted.generate(free).result];
      expect(said.tokens).toEqual(expected.tokens);
      one.close();
      wanted.close();
    }
    expect(model.cache.stats().tiers[0]).toMatchObject({ blocksDamaged: 0, writes: true });
    await model.close();
  }
  await fresh.close();
  expect(restored).toBeGreaterThan(0);
  expect(fromTier, "rows came back from the tier").toBeGreaterThan(0);
  // Whoever writes next takes away what killed writers left: at most the last one's is there.
  expect(readdirSync(folder).filter((name) => name !== "tier").length).toBeLessThanOrEqual(2);
});
