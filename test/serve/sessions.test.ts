// SPDX-License-Identifier: Apache-2.0
// Sessions of clients: rows stay between requests and nothing that is said depends on it; they are their key's own, bounded
// in number and time, and the first to go when there is no room.

import { afterEach, describe, expect, test } from "vitest";
import { ServedModel } from "../../src/serve/models.js";
import { Sessions } from "../../src/serve/sessions.js";
import type { TestServer } from "./support.js";
import { eventually, greedy, metric, startServer, user } from "./support.js";

let here: TestServer;
afterEach(() => here[Symbol.asyncDispose]());

type Message = { role: "user" | "assistant"; content: string };

async function say(messages: Message[], session?: string, key?: string) {
  const body = { ...greedy, messages, ...(session === undefined ? {} : { session }) };
  const answer = await here.client(key).chat.completions.create(body);
  const { usage, choices } = answer;
  const cached = usage?.prompt_tokens_details?.cached_tokens ?? -1;
  return { text: choices[0]?.message.content ?? "", rows: usage?.prompt_tokens ?? 0, cached };
}

const first: Message[] = [user("Tell me of the harbour.")];
const then = (answer: string): Message[] => [
  ...first,
  { role: "assistant", content: answer },
  user("And of the lighthouse?"),
];

describe("a session", () => {
  test("keeps its rows where nothing else does, and says what a request without it says", async () => {
    here = await startServer({ load: { indexBytes: 0 } }); // nothing is found by its content
    const [alone, kept] = [await say(first), await say(first, "s")];
    expect([alone.cached, kept.cached, kept.text]).toEqual([0, 0, alone.text]);
    const [afresh, on] = [await say(then(alone.text)), await say(then(alone.text), "s")];
    expect([afresh.cached, on.text, on.rows]).toEqual([0, afresh.text, afresh.rows]);
    expect(on.cached).toBeGreaterThanOrEqual(kept.rows);
    expect(here.model.stats().usedBytes).toBeGreaterThan(0);
  });

  test("goes back to what an edited conversation has in common with it", async () => {
    here = await startServer({ load: { indexBytes: 0 } });
    await say(then("It freezes."), "s");
    const edited = [...first, { role: "assistant" as const, content: "It is closed." }, user("Why?")];
    const [on, afresh] = [await say(edited, "s"), await say(edited)];
    expect(on.text).toBe(afresh.text);
    expect(on.cached).toBeGreaterThan(10);
    expect(on.cached).toBeLessThan(on.rows);
    const same = await say(edited, "s"); // all rows but the last one are there
    expect([same.text, same.cached]).toEqual([afresh.text, same.rows - 1]);
  });

  test("stays as it was when its reader leaves in the middle", async () => {
    here = await startServer({ load: { indexBytes: 0 } });
    await say(first, "s");
    const body = { ...greedy, max_tokens: 300, messages: first, session: "s" };
    for await (const _ of await here.client().chat.completions.create({ ...body, stream: true })) break;
    await eventually(() => here.server !== null && here.model.activity().jobs === 0);
    const [on, afresh] = [await say(then("It freezes."), "s"), await say(then("It freezes."))];
    expect(on.text).toBe(afresh.text);
  });

  test("answers one request at a time", async () => {
    here = await startServer();
    const sessions = new Sessions({ most: 2, idleMs: 1000 });
    const served = new ServedModel("tiny", here.model);
    const place = await sessions.take(served, undefined, "s");
    const busy = { status: 409, code: "session_busy", param: "session" };
    await expect(sessions.take(served, undefined, "s")).rejects.toMatchObject(busy);
    expect(() => sessions.delete(served, undefined, "s")).toThrow(/is answering/);
    await sessions.take(served, "another key's", "s");
    await expect(sessions.take(served, undefined, "third")).rejects.toMatchObject({
      code: "too_many_sessions",
    });
    place.leave();
    await sessions.take(served, undefined, "s");
  });

  test("is closed when nobody has used it for long", async () => {
    here = await startServer();
    const sessions = new Sessions({ most: 2, idleMs: 1 });
    const place = await sessions.take(new ServedModel("tiny", here.model), undefined, "s");
    sessions.sweep();
    expect(sessions.count).toBe(1); // it is in use
    place.leave();
    await new Promise((resolve) => setTimeout(resolve, 5));
    sessions.sweep();
    expect(sessions.count).toBe(0);
  });

  test("is gone, with its rows, when it is deleted", async () => {
    here = await startServer({ load: { indexBytes: 0 } });
    await say(first, "s");
    const gone = await fetch(`${here.url}/v1/sessions/s`, { method: "DELETE" });
    expect(await gone.json()).toEqual({ id: "s", object: "session.deleted", deleted: true });
    expect(await eventually(() => here.model.stats().usedBytes === 0)).toBe(true);
    expect((await fetch(`${here.url}/v1/sessions/s`, { method: "DELETE" })).status).toBe(404);
    expect((await say(first, "s")).cached).toBe(0);
  });

  test("works for completions, and begins anew under another prompt", async () => {
    here = await startServer({ load: { indexBytes: 0 } });
    const ask = (prompt: string) =>
      here
        .client()
        .completions.create({ ...greedy, prompt, session: "s" } as typeof greedy & { prompt: string });
    await ask("The harbour of Marsk freezes");
    const on = await ask("The harbour of Marsk freezes for eleven weeks");
    expect(on.usage?.prompt_tokens_details?.cached_tokens).toBeGreaterThan(5);
  });
});

describe("bounds", () => {
  test("of number: the one that nobody has used for longest goes", async () => {
    here = await startServer({ maxSessions: 2, load: { indexBytes: 0 } });
    for (const one of ["a", "b", "a", "c"]) await say(first, one);
    expect(await metric(here.url, "baton_sessions")).toBe(2);
    expect((await say(first, "a")).cached).toBeGreaterThan(0);
    expect((await say(first, "b")).cached).toBe(0);
  });

  test("of room: idle sessions give theirs up to a request that has none", async () => {
    // blocks of 8 KiB hold 16 rows; the pool has 40 of them
    here = await startServer({ load: { indexBytes: 0, cacheBytes: 40 * 8192 } });
    const long = (seed: number) => [user(`${seed} ${"harbour of Marsk ".repeat(18)}`)];
    for (let seed = 0; seed < 5; seed++)
      expect((await say(long(seed), `s${seed}`)).rows).toBeGreaterThan(135);
    expect(await metric(here.url, "baton_sessions")).toBeLessThan(5);
  });
});

test("sessions of one key are not those of another, of the same name", async () => {
  const keys = ["a-key-of-some-length", "another-key-as-long"] as const;
  here = await startServer({ keys, load: { indexBytes: 4 << 20 } });
  const [one, again] = [await say(first, "s", keys[0]), await say(first, "s", keys[0])];
  expect([one.cached, again.cached]).toEqual([0, again.rows - 1]);
  const other = await say(first, "s", keys[1]); // nor is anything found by its content
  expect([other.cached, other.text]).toEqual([0, one.text]);
  const headers = { authorization: `Bearer ${keys[1]}` };
  expect((await fetch(`${here.url}/v1/sessions/s`, { method: "DELETE", headers })).status).toBe(200);
  expect((await say(first, "s", keys[0])).cached).toBe(again.rows - 1);
});
