// SPDX-License-Identifier: Apache-2.0
// Calls that end early: an abort is an AbortError whatever its reason, before, while the prompt is computed and in the
// middle of a text; a stream that is left stops its generation; nothing of them stays in the pool, and a session goes on.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBaton } from "../../src/ai-sdk/index.js";
import type { Model } from "../../src/index.js";
import { ClosedError, defineChain, loadModel, QueueFullError } from "../../src/index.js";
import { failure } from "../chain/failure.js";
import { loadTiny, settled, until } from "../chain/tiny-model.js";
import { asked, partsOf, sdks } from "./support.js";

let model: Model;
beforeAll(async () => {
  model = await loadModel("smollm2-135m-instruct", { indexBytes: 0 });
});
afterAll(() => model.close());

const prompt = "Tell me everything about lighthouses.";

describe.each(sdks)("$name", ({ ai, provider }) => {
  test("generateText rejects with an AbortError, before it begins and while it writes", async () => {
    const given = { model: provider({ model })(), prompt };
    const early = ai.generateText({ ...given, abortSignal: AbortSignal.abort() });
    expect((await failure(early as Promise<unknown>)).name).toBe("AbortError");
    const late = ai.generateText({ ...given, abortSignal: AbortSignal.timeout(300) });
    expect((await failure(late as Promise<unknown>)).name).toBe("TimeoutError");
    await settled(model);
    expect(model.stats().usedBytes).toBe(0);
  });

  test("streamText ends with an abort, whatever the reason, and keeps what was written", async () => {
    for (const reason of [undefined, "enough", new Error("enough")]) {
      const stop = new AbortController();
      const aborted: unknown[] = [];
      const result = ai.streamText({
        model: provider({ model })(),
        prompt,
        abortSignal: stop.signal,
        onAbort: () => void aborted.push(reason),
        onError: ({ error }) => void aborted.push(error),
      });
      const types: string[] = [];
      for await (const part of result.fullStream) {
        types.push(part.type);
        if (types.filter((type) => type === "text-delta").length === 3) stop.abort(reason);
      }
      expect(types.at(-1)).toBe("abort");
      expect(aborted).toEqual([reason]);
    }
    await settled(model);
    expect(model.stats().usedBytes).toBe(0);
  });
});

describe("a call", () => {
  test("that is aborted while its prompt is computed rejects, and its rows are freed", async () => {
    const stop = new AbortController();
    const long = "The harbour of Marsk freezes for eleven weeks a year. ".repeat(120);
    const call = createBaton({ model })().doStream(asked(long, { abortSignal: stop.signal }));
    await until(() => model.stats().segments > 0);
    stop.abort();
    expect((await failure(call)).name).toBe("AbortError");
    await settled(model);
    expect(model.stats().usedBytes).toBe(0);
  });

  test("whose stream is left stops writing", async () => {
    const { stream } = await createBaton({ model })().doStream(asked(prompt));
    const reader = stream.getReader();
    await reader.read();
    await reader.cancel();
    await settled(model);
    expect(model.stats().usedBytes).toBe(0);
    const { stream: unread } = await createBaton({ model })().doStream(asked(prompt));
    await unread.cancel();
    await settled(model);
    expect(model.stats().usedBytes).toBe(0);
  });

  test("that was aborted leaves its session as it was before its text", async () => {
    const baton = createBaton({ model })();
    const session = { providerOptions: { baton: { session: "broken off" } } };
    const stop = new AbortController();
    const { stream } = await baton.doStream(asked(prompt, { abortSignal: stop.signal, ...session }));
    const reader = stream.getReader();
    for (let part = 0; part < 5; part++) await reader.read();
    stop.abort();
    expect((await failure(reader.read().then(() => reader.read()))).name).toBe("AbortError");
    const again = await baton.doGenerate(asked(prompt, { maxOutputTokens: 1, ...session }));
    expect(again.usage.inputTokens.cacheRead).toBe(again.usage.inputTokens.total - 1);
    (await model.session({ id: "broken off" })).close();
    await settled(model);
    expect(model.stats().usedBytes).toBe(0);
  });
});

describe("a failure", () => {
  test("in the middle of a stream is an error part, and the stream ends", async () => {
    const closed = await loadModel("smollm2-135m-instruct", { indexBytes: 0 }); // writes for seconds, if it is let
    const { stream } = await createBaton({ model: closed })().doStream(
      asked(prompt, { maxOutputTokens: 2000 }),
    );
    const closing = closed.close();
    const parts = await partsOf(stream);
    await closing;
    const [error, finish] = parts.slice(-2);
    expect(error?.type).toBe("error");
    expect(ClosedError.isInstance((error as { error: unknown }).error)).toBe(true);
    expect(finish).toMatchObject({ type: "finish", finishReason: { unified: "error" } });
  });

  test.each(sdks)("that will pass is tried again, $name", async ({ ai, provider }) => {
    const tiny = await loadTiny({ maxConcurrentRuns: 1, maxQueuedRuns: 0 });
    let open = (_: string) => {};
    const gate = new Promise<string>((resolve) => {
      open = resolve;
    });
    const held = defineChain(tiny)
      .input("gate", { from: () => gate })
      .stage("answer", { maxTokens: 2 });
    const short = defineChain(tiny).input("text").stage("answer", { maxTokens: 2 });
    const running = held.run({});
    const given = { model: provider({ model: tiny, chains: { short } })("chain:short"), prompt: "The sea" };
    const refused = await failure(ai.generateText({ ...given, maxRetries: 0 }) as Promise<unknown>);
    expect(QueueFullError.isInstance(refused)).toBe(true);
    expect(ai.APICallError.isInstance(refused) && refused.isRetryable).toBe(true);
    const patient = ai.generateText({ ...given, maxRetries: 1 });
    open("The harbour");
    await running.result;
    expect((await patient).finishReason).toBe("length");
    await tiny.close();
  });

  test("for lack of room in the pool is retryable only if there could be room", async () => {
    const probe = await loadTiny();
    const { blockBytes, blockRows } = probe.info;
    await probe.close();
    const tiny = await loadTiny({ cacheBytes: 4 * blockBytes });
    const baton = createBaton({ model: tiny, template: { source: "{{ messages[0].content }}" } })();
    const rows = (count: number) => "a".repeat(count);
    const tokens = tiny.tokenizer.encode(rows(9 * blockRows), { specials: true }).length;
    expect(tokens).toBeGreaterThan(4 * blockRows);
    const tooLong = await failure(baton.doGenerate(asked(rows(9 * blockRows), { maxOutputTokens: 1 })));
    expect(tooLong.code).toBe("CACHE_BUDGET");
    const other = tiny.cache.open();
    await other.append(new Array(3 * blockRows).fill(5));
    const inTheWay = await failure(baton.doGenerate(asked(rows(2 * blockRows), { maxOutputTokens: 1 })));
    expect(inTheWay.code).toBe("CACHE_BUDGET");
    for (const { ai } of sdks) {
      expect(ai.APICallError.isInstance(tooLong)).toBe(false);
      expect(ai.APICallError.isInstance(inTheWay)).toBe(true);
    }
    await tiny.close();
  });
});
