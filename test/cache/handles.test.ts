// SPDX-License-Identifier: Apache-2.0
// Cache handles: appending, forking, rewinding and generating give the bits of computing everything anew, hold what is
// shared once, and leave nothing behind.

import { afterEach, describe, expect, test } from "vitest";
import type { CacheHandle, LoadOptions, Model } from "../../src/index.js";
import { loadTiny, passages, question, rowsOf, settled, until } from "../chain/tiny-model.js";
import { firstDifference } from "../engine/program.js";

const open: Model[] = [];
async function load(options: LoadOptions = {}): Promise<Model> {
  const model = await loadTiny(options);
  open.push(model);
  return model;
}
afterEach(async () => {
  for (const model of open.splice(0)) await model.close();
});

const free = { closers: ["<|endoftext|>"], maxTokens: 12 };
const ids = (count: number, seed: number) =>
  Array.from({ length: count }, (_, i) => (i * 37 + seed * 101) % 500);
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => "nothing failed",
    (error: unknown) => error,
  );

/** Tokens that follow, generated on a fork so that the handle stays as it is. */
async function following(handle: CacheHandle, options = {}): Promise<readonly number[]> {
  using fork = handle.fork();
  return (await fork.generate({ ...free, ...options }).result).tokens;
}

describe("append and generate", () => {
  test("in pieces, with forks between, is the same as in one go", async () => {
    const model = await load();
    const tokens = ids(300, 3);
    const whole = model.cache.open();
    expect(await whole.append(tokens)).toEqual({ rows: 300, rowsComputed: 299, rowsReused: 0 });
    const wanted = await following(whole);
    const pieces = model.cache.open();
    for (let at = 0; at < 300; at += 70) await pieces.append(Int32Array.from(tokens.slice(at, at + 70)));
    expect(pieces.rows).toBe(300);
    expect(await following(pieces)).toEqual(wanted);
    const { tokens: continued, text } = await pieces.generate(free).result;
    expect(continued).toEqual(wanted);
    expect(text).toBe(model.tokenizer.decode(wanted));
    expect(pieces.rows).toBe(312);
  });

  test("a generation goes on where the one before ended", async () => {
    const model = await load();
    const twice = model.cache.open();
    const once = model.cache.open();
    for (const handle of [once, twice]) await handle.append(ids(40, 1));
    const long = await once.generate({ ...free, maxTokens: 20 }).result;
    const first = await twice.generate({ ...free, maxTokens: 7 }).result;
    const second = await twice.generate({ ...free, maxTokens: 13 }).result;
    expect([...first.tokens, ...second.tokens]).toEqual(long.tokens);
    expect(twice.rows).toBe(once.rows);
    expect(first.usage.rowsComputed).toBe(7); // the last row appended, and six of the seven tokens
  });

  test("text streams whole, stops where it is told to, and can be continued by hand", async () => {
    const model = await load();
    const handle = model.cache.open();
    await handle.append(question);
    const rows = handle.rows;
    const whole = await handle.fork().generate({ ...free, maxTokens: 30 }).result;
    const stop = /[\x20-\x7e]{3}/.exec(whole.text.slice(4))?.[0] as string;
    const generation = handle.generate({ ...free, maxTokens: 30, stop });
    let streamed = "";
    for await (const text of generation) streamed += text;
    const { text, reason, tokens } = await generation.result;
    expect(reason).toBe("stop");
    expect(text).toBe(whole.text.slice(0, whole.text.indexOf(stop)));
    expect(streamed).toBe(text);
    expect(handle.rows).toBe(rows + tokens.length);
    const recomputed = model.cache.open();
    await recomputed.append([...model.tokenizer.encode(question, { specials: false }), ...tokens]);
    expect(await following(handle)).toHaveLength(12); // the last row is taken back, and computed again
    expect(handle.rows).toBe(recomputed.rows);
  });

  test("after a closer it goes on only with more text", async () => {
    const model = await load();
    const handle = model.cache.open();
    await handle.append(question);
    const [first = 0] = await following(handle);
    const closed = await handle
      .fork()
      .generate({ maxTokens: 5, closers: [model.tokenizer.tokenName(first)] })
      .result.catch((error: unknown) => error);
    // an ordinary token is no closer
    expect(closed).toMatchObject({ code: "OPTION_INVALID" });
    const empty = model.cache.open();
    expect(await failure(empty.generate().result)).toMatchObject({ code: "OPTION_INVALID" });
  });

  test("soft rows and tokens stand side by side", async () => {
    const model = await load();
    const { hidden } = model.info;
    const rows = Float32Array.from({ length: 3 * hidden }, (_, i) => Math.sin(i) / 10);
    const mixed = model.cache.open();
    expect(await mixed.append({ rows, count: 3 })).toEqual({ rows: 3, rowsComputed: 2, rowsReused: 0 });
    await mixed.append(question);
    const same = model.cache.open();
    await same.append({ rows, count: 3 });
    await same.append(question);
    expect(await following(mixed)).toEqual(await following(same));
    const plain = model.cache.open();
    await plain.append(question);
    expect(await following(plain)).not.toEqual(await following(mixed));
    expect(await failure(mixed.append({ rows, count: 2 }))).toMatchObject({ code: "PROMPT_INVALID" });
  });
});

describe("fork", () => {
  test("8 stages x 4 branches hold the shared rows once", async () => {
    const model = await load();
    const trunk = model.cache.open();
    await trunk.append(ids(257, 1)); // 256 rows computed, the last one owed
    const before = model.cache.stats();
    expect(before.blocksUsed).toBe(16);
    const stages: CacheHandle[] = [];
    const branches: CacheHandle[] = [];
    for (let stage = 0; stage < 8; stage++) {
      const handle = trunk.fork();
      await handle.append(ids(17, 2 + stage)); // 17 rows, of which the trunk's last one: two blocks
      stages.push(handle);
      for (let branch = 0; branch < 4; branch++) branches.push(handle.fork());
    }
    await Promise.all(branches.map((one, i) => one.append(ids(16, 20 + i)))); // 16 rows each: one block
    const after = model.cache.stats();
    expect(after.blocksUsed).toBe(16 + 8 * 2 + 32);
    expect(after.bytes.inputs).toBe(after.blocksUsed * after.blockBytes);
    expect(after.blocksShared).toBe(16 + 8 * 2);
    expect(after.rowsComputed - before.rowsComputed).toBe(8 * 17 + 32 * 16);
    expect(after.rowsReused - before.rowsReused).toBe(8 * 256 + 32 * (256 + 17));
    for (const one of [...branches, ...stages, trunk]) one.close();
    await settled(model);
    expect(model.cache.stats()).toMatchObject({ blocksUsed: 0, segments: 0, blocksShared: 0 });
  });

  test("forked equals the same segments recomputed, logit for logit", async () => {
    const model = await load();
    const logitsOf = async (handle: CacheHandle) => {
      const { tokens } = await handle.generate({ ...free, maxTokens: 30, temperature: 1, seed: 7 }).result;
      return Float32Array.from(tokens); // thirty draws from the logits: another bit in one of them shows
    };
    const grow = async (branch: number) => {
      const trunk = model.cache.open();
      await trunk.append(ids(263, 4));
      const handle = trunk.fork();
      trunk.close();
      await handle.append(ids(20, branch));
      return handle;
    };
    const trunk = model.cache.open();
    await trunk.append(ids(263, 4));
    const forks = [trunk.fork(), trunk.fork()];
    for (const [i, fork] of forks.entries()) await fork.append(ids(20, i));
    const sampled = await Promise.all(forks.map(logitsOf));
    for (const [i, tokens] of sampled.entries()) {
      expect(firstDifference(tokens, await logitsOf(await grow(i)))).toBe(-1);
    }
    expect(firstDifference(sampled[0] as Float32Array, sampled[1] as Float32Array)).not.toBe(-1);
  });

  test("forks outlive their parent, and the parent its forks", async () => {
    const model = await load();
    const trunk = model.cache.open();
    await trunk.append(ids(100, 1));
    const wanted = await following(trunk);
    const [a, b] = [trunk.fork(), trunk.fork()];
    trunk.close();
    trunk.close();
    expect(await failure(trunk.append("more"))).toMatchObject({ code: "CLOSED" });
    expect(() => trunk.fork()).toThrow(expect.objectContaining({ code: "CLOSED" }));
    const grandchild = a.fork();
    a.close();
    expect(await following(b)).toEqual(wanted);
    b.close();
    expect(await following(grandchild)).toEqual(wanted);
    expect(model.stats().usedBytes).toBeGreaterThan(0);
    grandchild.close();
    await settled(model);
    expect(model.stats()).toMatchObject({ usedBytes: 0, segments: 0 });
  });

  test("10,000 forks of one trunk, each of the one before, cost nothing and leave nothing", async () => {
    const model = await load();
    const trunk = model.cache.open();
    await trunk.append(ids(50, 1));
    const wanted = await following(trunk);
    await until(() => model.stats().segments === 1);
    const { usedBytes } = model.stats();
    const forks: CacheHandle[] = [trunk];
    for (let i = 0; i < 10_000; i++) forks.push((forks[i % 2 === 0 ? i : 0] as CacheHandle).fork());
    expect(model.stats()).toMatchObject({ usedBytes, segments: 1 });
    expect(await following(forks.at(-1) as CacheHandle)).toEqual(wanted);
    for (const one of forks) one.close();
    await settled(model);
    expect(model.stats()).toMatchObject({ usedBytes: 0, segments: 0 });
  });

  test("a chain of forks as long as the context, a row each, ends without a deep stack", async () => {
    const model = await load();
    const whole = model.cache.open();
    const tokens = ids(model.info.contextLength - 20, 2);
    let handle = model.cache.open();
    for (const token of tokens) {
      await handle.append([token]);
      const next = handle.fork();
      handle.close();
      handle = next;
    }
    await whole.append(tokens);
    expect(handle.rows).toBe(whole.rows);
    expect(await following(handle)).toHaveLength(12);
    handle.close();
    whole.close();
    await settled(model);
    expect(model.stats()).toMatchObject({ usedBytes: 0, segments: 0 });
  });
});

describe("mark, rewind and truncate", () => {
  test("go back to where it was, and free what came later", async () => {
    const model = await load();
    const handle = model.cache.open();
    const start = handle.mark();
    await handle.append(ids(60, 1));
    const wanted = await following(handle);
    const mark = handle.mark();
    await until(() => model.stats().segments === 1);
    const { usedBytes } = model.stats();
    for (let turn = 0; turn < 3; turn++) {
      await handle.append(passages);
      await handle.generate(free).result;
      expect(model.stats().usedBytes).toBeGreaterThan(usedBytes);
      handle.rewind(mark);
      expect(handle.rows).toBe(60);
      await until(() => model.stats().usedBytes === usedBytes);
      expect(model.stats()).toMatchObject({ usedBytes, segments: 1 });
      expect(await following(handle)).toEqual(wanted);
      await until(() => model.stats().segments === 1);
    }
    const fork = handle.fork();
    await fork.append(question);
    fork.rewind(mark); // made before the fork
    expect(await following(fork)).toEqual(wanted);
    handle.rewind(start);
    expect(handle.rows).toBe(0);
    expect(() => handle.rewind(mark)).toThrow(expect.objectContaining({ code: "OPTION_INVALID" }));
    expect(await following(fork)).toEqual(wanted);
  });

  test("a prefix of any length reads as if it had been written alone", async () => {
    // Rows of one segment or of two add up in another order, which tokens of a random model show in int8.
    const model = await load({ activations: "float32" });
    const tokens = ids(90, 5);
    for (const rows of [0, 1, 15, 16, 17, 64, 88, 89, 90]) {
      const long = model.cache.open();
      await long.append(tokens.slice(0, 40));
      long.mark();
      await long.append(tokens.slice(40));
      long.truncate(rows);
      expect(long.rows).toBe(rows);
      const short = model.cache.open();
      if (rows > 0) await short.append(tokens.slice(0, Math.min(rows, 40)));
      short.mark();
      if (rows > 40) await short.append(tokens.slice(40, rows));
      for (const one of [long, short]) await one.append(ids(20, 9));
      expect(await following(long), `${rows} rows`).toEqual(await following(short));
    }
    const handle = model.cache.open();
    await handle.append(tokens);
    for (const rows of [-1, 91, 1.5, Number.NaN]) {
      expect(() => handle.truncate(rows)).toThrow(expect.objectContaining({ code: "OPTION_INVALID" }));
    }
    expect(handle.rows).toBe(90);
  });
});

describe("with the content index", () => {
  test("a second session computes only the end of what the first one had", async () => {
    const model = await load({ indexBytes: 4 << 20 });
    const tokens = ids(200, 1);
    const first = model.cache.open();
    await first.append(tokens);
    const wanted = await following(first);
    first.close();
    await until(() => model.stats().usedBytes === 0);
    const second = model.cache.open();
    expect(await second.append(tokens)).toEqual({ rows: 200, rowsComputed: 199 - 192, rowsReused: 192 });
    expect(await following(second)).toEqual(wanted);
    const { bytes, blockBytes, blocksKept } = model.cache.stats();
    expect(bytes.index).toBe(blocksKept * blockBytes);
  });
});

describe("bad use", () => {
  test("says what is wrong and leaves the handle as it was", async () => {
    const model = await load();
    const handle = model.cache.open();
    await handle.append(question);
    const { rows } = handle;
    expect(rows).toBe(rowsOf(model, question));
    for (const content of ["", [], [512], [-1], [1.5], [Number.NaN], null, 7]) {
      expect(await failure(handle.append(content as never)), String(content)).toMatchObject({
        code: "OPTION_INVALID",
      });
    }
    const limit = model.info.contextLength;
    const tooLong = await failure(handle.append(ids(limit - rows + 1, 1)));
    expect(tooLong).toMatchObject({
      code: "CONTEXT_LIMIT",
      message: expect.stringMatching(`${rows} rows and ${limit - rows + 1} to append.*1 more than`),
      facts: { needed: limit + 1, limit, over: 1 },
    });
    for (const options of [{ maxTokens: 0 }, { temperature: -1 }, { topP: 2 }, { stop: "" }, { what: 1 }]) {
      const error = await failure(handle.generate(options as object).result);
      expect(error, JSON.stringify(options)).toMatchObject({ code: "OPTION_INVALID" });
    }
    expect(handle.rows).toBe(rows);
    await handle.append(ids(limit - rows, 1)); // to the brim
    const { decodeRows, prefillRows } = model.activity();
    expect(await failure(handle.generate(free).result)).toMatchObject({
      code: "CONTEXT_LIMIT",
      facts: { needed: limit + 1, limit, over: 1 },
    });
    expect(await failure(handle.append([7, 8, 9]))).toMatchObject({ facts: { over: 3 } });
    expect(model.activity()).toMatchObject({ decodeRows, prefillRows }); // before anything was computed
  });

  test("a handle is written by one call at a time", async () => {
    const model = await load();
    const handle = model.cache.open();
    const running = handle.append(ids(100, 1));
    const busy = expect.objectContaining({ code: "OPTION_INVALID" });
    expect(await failure(handle.append("x"))).toEqual(busy);
    for (const use of [() => handle.fork(), () => handle.mark(), () => handle.truncate(0)]) {
      expect(use).toThrow(busy);
    }
    expect((await running).rows).toBe(100);
    expect(handle.fork().rows).toBe(100);
  });

  test("an abort in the middle leaves the handle as it was", async () => {
    const model = await load();
    const handle = model.cache.open();
    await handle.append(ids(30, 1));
    const wanted = await following(handle);
    const reason = new Error("enough");
    expect(await failure(handle.append("x", { signal: AbortSignal.abort(reason) }))).toBe(reason);
    const controller = new AbortController();
    const generation = handle.generate({ ...free, maxTokens: 400, signal: controller.signal });
    const read = async () => {
      for await (const _ of generation) controller.abort(reason);
    };
    expect(await failure(read())).toBe(reason);
    expect(await failure(generation.result)).toBe(reason);
    expect(handle.rows).toBe(30);
    for await (const _ of handle.generate({ ...free, maxTokens: 400 })) break;
    await until(() => !isBusy(handle));
    expect(handle.rows).toBe(30);
    expect(await following(handle)).toEqual(wanted);
    const last = handle.generate({ ...free, maxTokens: 400 });
    handle.close();
    expect(await failure(last.result)).toMatchObject({ code: "CLOSED" });
    await settled(model);
    expect(model.stats()).toMatchObject({ usedBytes: 0, segments: 0 });
  });

  test("nothing works on a closed model, and closing is harmless", async () => {
    const model = await load();
    const handle = model.cache.open();
    await handle.append(question);
    await model.close();
    const closed = { code: "CLOSED" };
    expect(await failure(handle.append("x"))).toMatchObject(closed);
    expect(await failure(handle.generate().result)).toMatchObject(closed);
    for (const use of [() => handle.fork(), () => model.cache.open(), () => model.cache.stats()]) {
      expect(use).toThrow(expect.objectContaining(closed));
    }
    handle.close();
    await handle[Symbol.asyncDispose]();
  });
});

function isBusy(handle: CacheHandle): boolean {
  try {
    handle.mark();
    return false;
  } catch {
    return true;
  }
}
