// SPDX-License-Identifier: Apache-2.0
// Sessions: one id is one session, a trunk exists once however many read it, closing frees at once, rewinding computes
// nothing, and a folder brings sessions back after a restart.

import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { settled } from "../chain/tiny-model.js";
import { failure, free, ids, load } from "./snapshot-support.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "baton-session-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("ids", () => {
  test("the same id is the same session while it is open, under one salt", async () => {
    const model = await load();
    const [one, again] = await Promise.all([model.session({ id: "a" }), model.session({ id: "a" })]);
    expect(again).toBe(one);
    await one.append(ids(20, 1));
    expect((await model.session({ id: "a" })).rows).toBe(20);
    expect((await model.session({ id: "b" })).rows).toBe(0);
    expect((await model.session({ id: "a", salt: "tenant" })).rows).toBe(0);
    one.close();
    expect(one.closed).toBe(true);
    expect((await model.session({ id: "a" })).rows).toBe(0);
    expect((await failure(one.append([1]))).code).toBe("CLOSED");
  });

  test("what is no id is refused", async () => {
    const model = await load();
    for (const id of ["", "x".repeat(257), 7, null, undefined, {}]) {
      const error = await failure(model.session({ id: id as string }));
      expect([error.code, error.facts.option]).toEqual(["OPTION_INVALID", "id"]);
    }
    expect((await failure(model.session(undefined as never))).code).toBe("OPTION_INVALID");
    expect((await failure(model.session({ id: "a", salt: "" }))).code).toBe("OPTION_INVALID");
    expect((await failure(model.session({ id: "a", folder: 3 as never }))).code).toBe("OPTION_INVALID");
    const session = await model.session({ id: "a" });
    expect(() => session.fork({ id: "a" })).toThrow("open already");
    await model.close();
    expect((await failure(model.session({ id: "c" }))).code).toBe("CLOSED");
  });
});

describe("agents", () => {
  test("32 of them hold one trunk; closing one frees its own blocks at once", async () => {
    const model = await load();
    const { blockBytes, blockRows } = model.info;
    const trunk = await model.session({ id: "trunk" });
    await trunk.append(ids(400, 1));
    const trunkBlocks = Math.ceil(399 / blockRows);
    const agents = Array.from({ length: 32 }, (_, i) => trunk.fork({ id: `agent ${i}` }));
    expect(model.cache.stats().usedBytes).toBe(trunkBlocks * blockBytes);
    const texts = await Promise.all(
      agents.map(async (agent, i) => {
        await agent.append(ids(4, i + 2));
        return (await agent.generate({ ...free, maxTokens: 8 }).result).tokens;
      }),
    );
    expect(new Set(texts.map(String)).size).toBeGreaterThan(1);
    const stats = model.cache.stats();
    expect(stats.blocksUsed).toBe(trunkBlocks + 32);
    expect(stats.blocksShared).toBe(trunkBlocks);
    for (const [i, agent] of agents.entries()) {
      agent.close();
      expect(model.stats().blocksUsed).toBe(trunkBlocks + 31 - i);
    }
    expect(await model.session({ id: "agent 3" })).not.toBe(agents[3]);
    trunk.close();
    await settled(model);
    expect(model.stats().usedBytes).toBe(0);
  });

  test("rewinding computes and copies nothing, however many rows go", async () => {
    const model = await load();
    const session = await model.session({ id: "a" });
    await session.append(ids(30, 1));
    const mark = session.mark();
    const first = await session.generate(free).result;
    await session.append(ids(300, 4));
    const { rowsComputed } = model.cache.stats();
    session.rewind(mark);
    expect(session.rows).toBe(30);
    expect(model.cache.stats().rowsComputed).toBe(rowsComputed);
    expect(model.stats().blocksUsed).toBe(Math.ceil(29 / model.info.blockRows));
    expect((await session.generate(free).result).tokens).toEqual(first.tokens);
    session.truncate(10);
    expect(session.rows).toBe(10);
  });
});

describe("a folder", () => {
  test("brings a session back by its id, in another model, bit for bit", async () => {
    const model = await load();
    const session = await model.session({ id: "ann/1", folder, salt: "tenant" });
    expect(session.restored).toBeNull();
    await session.append(ids(60, 1));
    const branch = session.fork({ id: "ann/2" });
    await branch.append(ids(10, 7));
    await session.snapshot();
    await branch.snapshot({ durable: true });
    const expected = await session.generate(free).result;
    const ofBranch = await branch.generate(free).result;
    await model.close();

    const later = await load();
    const [back, other] = [
      await later.session({ id: "ann/1", folder, salt: "tenant" }),
      await later.session({ id: "ann/2", folder, salt: "tenant" }),
    ];
    expect(back.restored).toEqual({ rows: 60, rowsLeftOut: 0, fault: null });
    expect((await back.generate(free).result).tokens).toEqual(expected.tokens);
    expect((await other.generate(free).result).tokens).toEqual(ofBranch.tokens);
    expect((await later.session({ id: "ann/1", folder })).restored).toBeNull(); // of no tenant
    back.close();
    expect((await later.session({ id: "ann/1", folder, salt: "tenant" })).rows).toBe(60);
    await other.forget();
    other.close();
    expect((await later.session({ id: "ann/2", folder, salt: "tenant" })).rows).toBe(0);
  });

  test("what is damaged or another session's is told", async () => {
    const model = await load();
    const session = await model.session({ id: "x", folder });
    await session.append(ids(100, 1));
    const before = new Set(await readdir(folder));
    const { bytes } = await session.snapshot();
    const name = (await readdir(folder)).find((one) => !before.has(one)) as string;
    session.close();
    const content = await readFile(join(folder, name));
    await writeFile(join(folder, name), content.subarray(0, bytes - 1));
    expect((await failure(model.session({ id: "x", folder }))).code).toBe("SNAPSHOT_INVALID");
    const part = await model.session({ id: "x", folder, partial: true });
    expect(part.rows).toBe(96);
    part.close();
    const other = await model.session({ id: "y", folder });
    await other.append(ids(20, 1));
    await other.snapshot(join(folder, name));
    const error = await failure(model.session({ id: "x", folder }));
    expect([error.code, error.facts.field]).toEqual(["KV_MISMATCH", "session"]);
    const stop = AbortSignal.abort(new Error("enough"));
    await expect(model.session({ id: "x", folder, signal: stop })).rejects.toThrow("enough");
    other.close();
    expect(model.stats().usedBytes).toBe(0);
  });

  test("a session without one says where a snapshot could go", async () => {
    const model = await load();
    const session = await model.session({ id: "a" });
    await session.append([1, 2]);
    expect((await failure(session.snapshot())).facts.option).toBe("folder");
    const path = join(folder, "elsewhere");
    await session.snapshot(path);
    expect((await model.cache.restore(path)).rows).toBe(2);
  });
});
