// SPDX-License-Identifier: Apache-2.0
// Random programs of the cache against a list of ids for each handle: the counts after every command, what comes next
// where a program looks, and nothing left at the end. BATON_MODEL_COMMANDS=N runs until N commands were run; a failure
// prints its seed and the shortest program.

import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { programs, table } from "./model-based/commands.js";
import { World } from "./model-based/world.js";

const commands = Number(process.env.BATON_MODEL_COMMANDS ?? 600);
let world: World;
beforeAll(async () => {
  world = await World.open();
});
afterAll(() => world.close());

test(
  `programs of ${Object.keys(table).length} kinds of commands, ${commands} commands or more`,
  async () => {
    const seed = Number(process.env.BATON_MODEL_SEED ?? Math.floor(Math.random() * 2 ** 31));
    const property = fc.asyncProperty(programs(120), async (program) => {
      try {
        world.add(world.model.cache.open(), []);
        await fc.asyncModelRun(() => ({ model: {}, real: world }), program);
        for (const one of world.held) await world.checkNext(one);
      } finally {
        await world.end();
      }
    });
    for (let turn = 0; (world.counts.commands ?? 0) < commands; turn++) {
      await fc.assert(property, { numRuns: 10, seed: seed + turn, endOnFailure: false });
    }
    console.log(`model-based, seed ${seed}: ${JSON.stringify(world.counts)}`);
    for (const what of ["append", "generate", "look", "abort", "rewind"]) {
      expect(world.counts[what], what).toBeGreaterThan(2);
    }
    const [disk] = world.model.cache.stats().tiers;
    expect(disk).toMatchObject({ name: "disk", writes: true, blocksDamaged: 0 });
    expect(disk?.blocksRead, "blocks that came back from the tier").toBeGreaterThan(0);
    const refused = Object.keys(world.counts).filter((what) => what.endsWith("refused"));
    expect(refused.length).toBeGreaterThan(0); // the pool is small enough to be full
  },
  Math.max(120_000, commands * 100),
);

test("found by a program: a mark made after a truncation is good after more was generated", async () => {
  const handle = world.model.cache.open();
  await handle.append([5, 6, 7]);
  handle.truncate(2);
  const mark = handle.mark();
  await handle.generate({ maxTokens: 3 }).result;
  handle.rewind(mark);
  expect(handle.rows).toBe(2);
  world.add(handle, [5, 6]);
  await world.checkNext(world.pick(0));
  await world.end();
});
