// SPDX-License-Identifier: Apache-2.0
// The order of items: every item once an epoch, the same for the same seed, and the same again from a state in the
// middle. The generator against the published sequence of xoshiro128**.
import { describe, expect, it } from "vitest";
import { BatchOrder, firstOrder, inParts } from "../../src/tune/batches.js";
import { Random, randomState } from "../../src/tune/random.js";

describe("the generator", () => {
  it("gives the published numbers of xoshiro128** from the state 1, 2, 3, 4", () => {
    const random = new Random([1, 2, 3, 4]);
    // the test vector of the Rust crate rand_xoshiro, made with the authors' C code
    const published = [
      11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804,
    ];
    expect(published.map(() => random.next())).toEqual(published);
  });

  it("goes on from its state, and differs by seed", () => {
    const random = new Random(randomState(7));
    for (let i = 0; i < 5; i++) random.next();
    const same = new Random(random.state);
    expect([random.next(), random.next()]).toEqual([same.next(), same.next()]);
    expect(randomState(7)).not.toEqual(randomState(8));
    expect(randomState(2 ** 32 + 7)).toEqual(randomState(7));
  });

  it("draws every order of four as often", () => {
    const random = new Random(randomState(3));
    const counts = new Map<string, number>();
    for (let i = 0; i < 24_000; i++) {
      const order = random.permutation(4).join("");
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    const chiSquare = [...counts.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    expect(chiSquare).toBeLessThan(49.7); // 23 degrees of freedom: exceeded once in a thousand seeds
  });
});

describe("batches", () => {
  const take = (order: BatchOrder, steps: number) =>
    Array.from({ length: steps }, () => {
      const batch = order.current();
      expect(order.current()).toEqual(batch); // looking changes nothing
      order.advance();
      return batch;
    });

  it("take every item once an epoch, the last one what is left, each epoch in an order of its own", () => {
    const order = new BatchOrder(11, 4, true, firstOrder(1));
    const batches = take(order, 6);
    expect(batches.map(({ items }) => items.length)).toEqual([4, 4, 3, 4, 4, 3]);
    expect(batches.map(({ epoch }) => epoch)).toEqual([0, 0, 0, 1, 1, 1]);
    expect(batches.map(({ endsEpoch }) => endsEpoch)).toEqual([false, false, true, false, false, true]);
    const [first, second] = [batches.slice(0, 3), batches.slice(3)].map((epoch) =>
      epoch.flatMap(({ items }) => [...items]),
    ) as [number[], number[]];
    const all = Array.from({ length: 11 }, (_, i) => i);
    expect([...first].sort((a, b) => a - b)).toEqual(all);
    expect([...second].sort((a, b) => a - b)).toEqual(all);
    expect(first).not.toEqual(all);
    expect(first).not.toEqual(second);
  });

  it("are the same for the same seed and go on from any state", () => {
    const whole = take(new BatchOrder(10, 3, true, firstOrder(5)), 12);
    expect(take(new BatchOrder(10, 3, true, firstOrder(5)), 12)).toEqual(whole);
    expect(take(new BatchOrder(10, 3, true, firstOrder(6)), 12)).not.toEqual(whole);
    for (let done = 0; done < 12; done++) {
      const order = new BatchOrder(10, 3, true, firstOrder(5));
      take(order, done);
      const kept = JSON.parse(JSON.stringify(order.state));
      expect(take(new BatchOrder(10, 3, true, kept), 12 - done)).toEqual(whole.slice(done));
    }
  });

  it("come in order without a shuffle, and are larger than the data if asked", () => {
    const order = new BatchOrder(3, 8, false, firstOrder(1));
    expect(take(order, 2).map(({ items }) => [...items])).toEqual([
      [0, 1, 2],
      [0, 1, 2],
    ]);
  });

  it("are cut into parts for accumulation", () => {
    expect(inParts([1, 2, 3, 4, 5], 2)).toEqual([[1, 2], [3, 4], [5]]);
    expect(inParts([], 2)).toEqual([]);
  });
});
