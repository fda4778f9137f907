// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { QueueFullError } from "../../src/errors.js";
import { runLimits } from "../../src/model/options.js";
import { RunQueue } from "../../src/model/run-queue.js";

const never = () => new AbortController().signal;

interface Task {
  name: string;
  end: () => void;
  fail: (error: unknown) => void;
  outcome: Promise<string>;
}

function deferred<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<T>((one, other) => {
    resolve = one;
    reject = other;
  });
  return { promise, resolve, reject };
}

/** Runs that note when they begin and end when they are told. */
function tasks(queue: RunQueue) {
  const begun: string[] = [];
  const start = (name: string, signal = never()): Task => {
    const gate = deferred<string>();
    const outcome = queue.run(signal, () => {
      begun.push(name);
      return gate.promise;
    });
    outcome.catch(() => {});
    return { name, outcome, end: () => gate.resolve(name), fail: gate.reject };
  };
  return { begun, start };
}

const turn = () => sleep(0);

describe("run queue", () => {
  test("at most so many at once, the others in the order in which they came", async () => {
    const queue = new RunQueue({ maxConcurrentRuns: 2, maxQueuedRuns: Number.POSITIVE_INFINITY });
    const { begun, start } = tasks(queue);
    const all = ["a", "b", "c", "d", "e"].map((name) => start(name));
    await turn();
    expect(begun).toEqual(["a", "b"]);
    expect([queue.running, queue.waiting]).toEqual([2, 3]);
    all[1]?.end();
    await turn();
    expect(begun).toEqual(["a", "b", "c"]);
    all[0]?.fail(new Error("broken")); // a failed run gives up its place too
    await turn();
    expect(begun).toEqual(["a", "b", "c", "d"]);
    const late = start("f");
    for (const one of [...all, late]) one.end();
    const outcomes = await Promise.allSettled([...all, late].map((one) => one.outcome));
    expect(outcomes.map((one) => one.status)).toEqual(["rejected", ...Array(5).fill("fulfilled")]);
    expect(begun).toEqual(["a", "b", "c", "d", "e", "f"]);
    expect([queue.running, queue.waiting]).toEqual([0, 0]);
  });

  test("nobody who comes in between takes the place of one that waits", async () => {
    const queue = new RunQueue({ maxConcurrentRuns: 1, maxQueuedRuns: 10 });
    const { begun, start } = tasks(queue);
    const first = start("first");
    const waiting = start("waiting");
    first.end();
    await first.outcome;
    const late = start("late");
    await turn();
    expect(begun).toEqual(["first", "waiting"]);
    waiting.end();
    late.end();
    await late.outcome;
    expect(begun).toEqual(["first", "waiting", "late"]);
  });

  test("a full queue refuses at once, with the figures, and takes the next one when there is room", async () => {
    for (const maxQueuedRuns of [0, 2]) {
      const queue = new RunQueue({ maxConcurrentRuns: 1, maxQueuedRuns });
      const { start } = tasks(queue);
      const all = Array.from({ length: 1 + maxQueuedRuns }, (_, i) => start(String(i)));
      const error = await start("refused").outcome.catch((thrown: unknown) => thrown);
      if (!QueueFullError.isInstance(error)) throw error;
      expect(error.facts).toEqual({
        running: 1,
        waiting: maxQueuedRuns,
        maxConcurrentRuns: 1,
        maxQueuedRuns,
      });
      expect(error.message).toContain("maxQueuedRuns");
      all[0]?.end();
      await turn();
      const next = start("next");
      for (const one of [...all, next]) one.end();
      expect(await next.outcome).toBe("next");
    }
  });

  test("an abort takes one out of the line and leaves the others their order", async () => {
    const queue = new RunQueue({ maxConcurrentRuns: 1, maxQueuedRuns: 3 });
    const { begun, start } = tasks(queue);
    const controller = new AbortController();
    const first = start("first");
    const aborted = start("aborted", controller.signal);
    const last = start("last");
    controller.abort("enough");
    await expect(aborted.outcome).rejects.toBe("enough");
    expect(queue.waiting).toBe(1);
    await expect(start("never", AbortSignal.abort("before")).outcome).rejects.toBe("before");
    first.end();
    last.end();
    await last.outcome;
    expect(begun).toEqual(["first", "last"]);
    expect([queue.running, queue.waiting]).toEqual([0, 0]);
  });

  test("closing refuses those that wait; those in progress end by themselves", async () => {
    const queue = new RunQueue({ maxConcurrentRuns: 1, maxQueuedRuns: 3 });
    const { start } = tasks(queue);
    const first = start("first");
    const waiting = [start("b"), start("c")];
    queue.close();
    for (const one of waiting) await expect(one.outcome).rejects.toMatchObject({ code: "CLOSED" });
    first.end();
    expect(await first.outcome).toBe("first");
    expect([queue.running, queue.waiting]).toEqual([0, 0]);
  });

  test("a run inside a run never waits for it; one that outlives it waits like all", async () => {
    const queue = new RunQueue({ maxConcurrentRuns: 1, maxQueuedRuns: 1 });
    const { begun, start } = tasks(queue);
    let later: Promise<string> | null = null;
    const gate = deferred<void>();
    const outer = queue.run(never(), async () => {
      const inner = await queue.run(never(), () => queue.run(never(), async () => "deep"));
      later = gate.promise.then(() => queue.run(never(), async () => "later"));
      return inner;
    });
    expect(await outer).toBe("deep");
    const blocking = start("blocking");
    gate.resolve();
    await turn();
    expect([queue.running, queue.waiting]).toEqual([1, 1]);
    blocking.end();
    expect(await later).toBe("later");
    expect(begun).toEqual(["blocking"]);
  });

  test("another model's queue is another queue", async () => {
    const one = new RunQueue({ maxConcurrentRuns: 1, maxQueuedRuns: 0 });
    const other = new RunQueue({ maxConcurrentRuns: 1, maxQueuedRuns: 0 });
    const blocking = tasks(other).start("blocking");
    const outer = one.run(never(), () => other.run(never(), async () => "no"));
    await expect(outer).rejects.toMatchObject({ code: "QUEUE_FULL" });
    blocking.end();
  });
});

describe("limits as load options", () => {
  test.each([0, -1, 1.5, Number.NaN, "2", null])("maxConcurrentRuns %s", (value) => {
    expect(() => runLimits({ maxConcurrentRuns: value as number })).toThrow(
      expect.objectContaining({
        code: "OPTION_INVALID",
        facts: { option: "maxConcurrentRuns", value: String(value) },
      }),
    );
  });
  test.each([-1, 0.5, Number.NaN, "2", null])("maxQueuedRuns %s", (value) => {
    expect(() => runLimits({ maxConcurrentRuns: 1, maxQueuedRuns: value as number })).toThrow(
      expect.objectContaining({
        code: "OPTION_INVALID",
        facts: { option: "maxQueuedRuns", value: String(value) },
      }),
    );
  });
  test("maxQueuedRuns alone", () => {
    expect(() => runLimits({ maxQueuedRuns: 3 })).toThrow(/maxConcurrentRuns/);
  });
  test("absent: no limit", () => {
    const unlimited = {
      maxConcurrentRuns: Number.POSITIVE_INFINITY,
      maxQueuedRuns: Number.POSITIVE_INFINITY,
    };
    expect(runLimits({})).toEqual(unlimited);
    expect(runLimits({ maxConcurrentRuns: 3, maxQueuedRuns: 0 })).toEqual({
      maxConcurrentRuns: 3,
      maxQueuedRuns: 0,
    });
  });
});
