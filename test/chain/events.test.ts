// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test, vi } from "vitest";
import { EventChannel } from "../../src/chain/events.js";
import type { ChainEvent } from "../../src/chain/types.js";

const delta = (text: string, stage = "a"): ChainEvent => ({ type: "text-delta", stage, text });
const started: ChainEvent = { type: "stage-start", stage: "a" };

async function collect(iterator: AsyncIterator<ChainEvent, undefined>): Promise<ChainEvent[]> {
  const events: ChainEvent[] = [];
  for (let next = await iterator.next(); next.done !== true; next = await iterator.next())
    events.push(next.value);
  return events;
}

describe("event channel", () => {
  test("hands over in order and ends", async () => {
    const channel = new EventChannel(() => {});
    const read = collect(channel.iterator());
    channel.push(started);
    channel.push(delta("x"));
    await Promise.resolve();
    channel.push(delta("y"));
    channel.end();
    expect((await read).map((one) => ("text" in one ? one.text : one.type))).toEqual([
      "stage-start",
      "x",
      "y",
    ]);
  });

  test("joins neighbouring deltas and progress of one stage while nobody reads", async () => {
    const channel = new EventChannel(() => {});
    channel.push({ type: "prefill", stage: "a", done: 1, total: 9 });
    channel.push({ type: "prefill", stage: "a", done: 9, total: 9 });
    for (const text of ["x", "y", "z"]) channel.push(delta(text));
    channel.push(delta("b's", "b"));
    channel.end();
    expect(await collect(channel.iterator())).toEqual([
      { type: "prefill", stage: "a", done: 9, total: 9 },
      delta("xyz"),
      delta("b's", "b"),
    ]);
  });

  test("joined deltas keep the log-probabilities of all their tokens", async () => {
    const channel = new EventChannel(() => {});
    const one = (id: number) => ({ id, text: "x", logprob: -id, top: [] });
    channel.push({ type: "text-delta", stage: "a", text: "x", logprobs: [one(1), one(2)] });
    channel.push({ type: "text-delta", stage: "a", text: "y", logprobs: [one(3)] });
    channel.push({ type: "text-delta", stage: "b", text: "z", logprobs: [] });
    channel.end();
    expect(await collect(channel.iterator())).toEqual([
      { type: "text-delta", stage: "a", text: "xy", logprobs: [one(1), one(2), one(3)] },
      { type: "text-delta", stage: "b", text: "z", logprobs: [] },
    ]);
  });

  test("an error comes once, after what was queued", async () => {
    const channel = new EventChannel(() => {});
    channel.push(started);
    channel.fail(new Error("broken"));
    const iterator = channel.iterator();
    expect(await iterator.next()).toEqual({ done: false, value: started });
    await expect(iterator.next()).rejects.toThrow("broken");
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  test("readers that wait hear error and end", async () => {
    const channel = new EventChannel(() => {});
    const iterator = channel.iterator();
    const first = iterator.next();
    const second = iterator.next();
    channel.fail(new Error("broken"));
    await expect(first).rejects.toThrow("broken");
    expect((await second).done).toBe(true);
  });

  test("leaving the loop cancels, once; leaving after the end does not", async () => {
    const cancel = vi.fn();
    const channel = new EventChannel(cancel);
    channel.push(started);
    for await (const _ of { [Symbol.asyncIterator]: () => channel.iterator() }) break;
    expect(cancel).toHaveBeenCalledTimes(1);

    const ended = new EventChannel(cancel);
    ended.end();
    await ended.iterator().return?.();
    expect(cancel).toHaveBeenCalledTimes(1);
  });

  test("a second reader is refused", () => {
    const channel = new EventChannel(() => {});
    channel.iterator();
    expect(() => channel.iterator()).toThrow(/iterated once/);
  });
});
