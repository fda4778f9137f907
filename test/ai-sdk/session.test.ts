// SPDX-License-Identifier: Apache-2.0
// Sessions: a call re-reads nothing that its session holds, whatever way it names the session; answers come back as the
// tokens that were written; calls on one session take turns; a session that is destroyed frees its rows.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inWrittenTokens } from "../../src/ai-sdk/conversation.js";
import { createBaton } from "../../src/ai-sdk/index.js";
import type { CallOptions, CallSession, GenerateResult, Message } from "../../src/ai-sdk/spec.js";
import type { Model } from "../../src/index.js";
import { loadModel } from "../../src/index.js";
import { failure } from "../chain/failure.js";
import { loadTiny, settled } from "../chain/tiny-model.js";
import { asked, plainAnswer, sdks } from "./support.js";

/** Without an index nothing is found by its content: what is read was in the session. */
let model: Model;
beforeAll(async () => {
  model = await loadModel("smollm2-135m-instruct", { batchInvariant: true, indexBytes: 0 });
});
afterAll(() => model.close());

const user = (text: string): Message => ({ role: "user", content: [{ type: "text", text }] });
const said = (text: string): Message => ({ role: "assistant", content: [{ type: "text", text }] });
const textOf = ({ content }: GenerateResult) =>
  content.map((one) => ("text" in one ? one.text : "")).join("");
const named = (session: string) => ({ providerOptions: { baton: { session } } });

/** A caller's session, as the specification has it. */
class Store implements CallSession {
  readonly #values = new Map<string | symbol, { value: unknown; onDestroy: (() => unknown) | undefined }>();

  getOrSet<T>(key: string | symbol, create: () => T, options?: { onDestroy?: (value: T) => unknown }): T {
    const found = this.#values.get(key);
    if (found !== undefined) return found.value as T;
    const value = create();
    this.#values.set(key, { value, onDestroy: () => options?.onDestroy?.(value) });
    return value;
  }

  async destroy(): Promise<void> {
    for (const { onDestroy } of this.#values.values()) await onDestroy?.();
    this.#values.clear();
  }
}

/** Two turns: the first question, and the second behind its answer. */
async function twoTurns(options: Partial<CallOptions>): Promise<[GenerateResult, GenerateResult]> {
  const baton = createBaton({ model })();
  const given = { maxOutputTokens: 24, ...options };
  const first = await baton.doGenerate({ prompt: [user("What is gravity?")], ...given });
  const prompt = [user("What is gravity?"), said(textOf(first)), user("Who found it?")];
  return [first, await baton.doGenerate({ prompt, ...given })];
}

describe("a second turn", () => {
  test("on a named session computes its own rows and the last one of before", async () => {
    const [first, second] = await twoTurns(named("turns"));
    const [before, now] = [first.usage.inputTokens, second.usage.inputTokens];
    expect([before.cacheRead, before.noCache]).toEqual([0, 0]);
    expect(before.cacheWrite).toBe(before.total);
    const answered = first.usage.outputTokens.total;
    expect(now.cacheRead).toBe(before.total + answered - 1);
    expect(now.cacheWrite).toBe(now.total - now.cacheRead);
    expect(now.noCache).toBe(0);
    const session = await model.session({ id: "turns" });
    expect(session.rows).toBe(now.total + second.usage.outputTokens.total);
    session.close();
  });

  test("says what the model says behind the same rows", async () => {
    const [first, second] = await twoTurns(named("same"));
    const template = model.template();
    const turns = [{ role: "user", content: "What is gravity?" }];
    const handle = model.cache.open();
    await handle.append(template.encode(turns));
    const { text } = await handle.generate({ maxTokens: 24 }).result;
    expect(textOf(first)).toBe(text);
    turns.push({ role: "assistant", content: text }, { role: "user", content: "Who found it?" });
    await handle.append([...template.encode(turns)].slice(handle.rows));
    expect(textOf(second)).toBe((await handle.generate({ maxTokens: 24 }).result).text);
    handle.close();
    (await model.session({ id: "same" })).close();
  });

  test("without a session computes all rows", async () => {
    const [, alone] = await twoTurns({});
    const { total } = alone.usage.inputTokens;
    expect(alone.usage.inputTokens).toEqual({ total, noCache: total, cacheRead: 0, cacheWrite: 0 });
  });

  test("on the caller's own session reads as much, and destroying that frees every row", async () => {
    await settled(model);
    const store = new Store();
    const [first, second] = await twoTurns({ experimental_session: store });
    const held = first.usage.inputTokens.total + first.usage.outputTokens.total;
    expect(second.usage.inputTokens.cacheRead).toBe(held - 1);
    expect(model.stats().usedBytes).toBeGreaterThan(0);
    await store.destroy();
    await settled(model);
    expect(model.stats().usedBytes).toBe(0);
  });

  test("that changes the past goes back to where it differs", async () => {
    const baton = createBaton({ model })();
    const given = { maxOutputTokens: 8, ...named("past") };
    const first = await baton.doGenerate({ prompt: [user("What is gravity?")], ...given });
    const other = await baton.doGenerate({ prompt: [user("What is a lighthouse?")], ...given });
    const expected = await plainAnswer(model, [{ role: "user", content: "What is a lighthouse?" }], 1);
    expect(textOf(other).startsWith(expected)).toBe(true);
    expect(other.usage.inputTokens.cacheRead).toBeGreaterThan(0);
    expect(other.usage.inputTokens.cacheRead).toBeLessThan(first.usage.inputTokens.total);
    const again = await baton.doGenerate({ prompt: [user("What is a lighthouse?")], ...given });
    expect(textOf(again).startsWith(expected)).toBe(true); // rows of another batch may have other last bits
    expect(again.usage.inputTokens.cacheRead).toBe(again.usage.inputTokens.total - 1);
    (await model.session({ id: "past" })).close();
  });
});

describe.each(sdks)("$name", ({ ai, provider }) => {
  test("reports what a session saved", async () => {
    const given = { model: provider({ model })(), maxOutputTokens: 8, ...named("usage") };
    const first = await ai.generateText({ ...given, prompt: "What is gravity?" });
    const messages = [
      { role: "user" as const, content: "What is gravity?" },
      ...first.response.messages,
      { role: "user" as const, content: "Who found it?" },
    ];
    const second = ai.streamText({ ...given, messages });
    await second.consumeStream();
    const { cacheReadTokens, noCacheTokens } = (await second.usage).inputTokenDetails;
    expect(cacheReadTokens).toBe((first.usage.totalTokens ?? 0) - 1);
    expect(noCacheTokens).toBe(0);
    (await model.session({ id: "usage" })).close();
  });

  test("hands a session of the caller's through its middleware", async () => {
    const store = new Store();
    const wrapped = ai.wrapLanguageModel({
      model: provider({ model })(),
      middleware: {
        transformParams: async ({ params }: { params: object }) => ({
          ...params,
          experimental_session: store,
        }),
      } as never,
    });
    const call = () => ai.generateText({ model: wrapped, prompt: "What is gravity?", maxOutputTokens: 4 });
    const first = await call();
    const second = await call();
    expect(second.usage.inputTokenDetails.cacheReadTokens).toBe((first.usage.inputTokens ?? 0) - 1);
    await store.destroy();
  });
});

describe("sessions", () => {
  test("of other salts are other sessions, and so are those of other stores", async () => {
    const [store, other] = [new Store(), new Store()];
    const baton = createBaton({ model, salt: "a" })();
    const read = async (options: Partial<CallOptions>) =>
      (await baton.doGenerate(asked("What is gravity?", { maxOutputTokens: 1, ...options }))).usage
        .inputTokens.cacheRead;
    const salted = (salt: string) => ({ providerOptions: { baton: { salt } } });
    expect(await read({ experimental_session: store })).toBe(0);
    expect(await read({ experimental_session: store })).toBeGreaterThan(0);
    expect(await read({ experimental_session: store, ...salted("a") })).toBeGreaterThan(0);
    expect(await read({ experimental_session: store, ...salted("b") })).toBe(0);
    expect(await read({ experimental_session: other })).toBe(0);
    await Promise.all([store.destroy(), other.destroy()]);
  });

  test("are written by one call at a time, each with its own answer", async () => {
    const baton = createBaton({ model })();
    const questions = ["What is gravity?", "What is rain?", "What is gravity?", "What is snow?"];
    const results = await Promise.all(
      questions.map((text) => baton.doGenerate(asked(text, { maxOutputTokens: 8, ...named("queue") }))),
    );
    const inTurn: string[] = [];
    for (const text of questions) {
      inTurn.push(textOf(await baton.doGenerate(asked(text, { maxOutputTokens: 8, ...named("in turn") }))));
    }
    expect(results.map(textOf)).toEqual(inTurn);
    expect(new Set(inTurn).size).toBe(3);
    (await model.session({ id: "in turn" })).close();
    (await model.session({ id: "queue" })).close();
  });

  test("let one that waits be aborted, and the next one in", async () => {
    const baton = createBaton({ model })();
    const stop = new AbortController();
    const long = baton.doGenerate(asked("What is gravity?", { maxOutputTokens: 32, ...named("wait") }));
    const waiting = baton.doGenerate(asked("Hi", { abortSignal: stop.signal, ...named("wait") }));
    const next = baton.doGenerate(asked("What is gravity?", { maxOutputTokens: 1, ...named("wait") }));
    stop.abort();
    expect((await failure(waiting)).name).toBe("AbortError");
    const { total } = (await long).usage.inputTokens;
    expect((await next).usage.inputTokens.cacheRead).toBe(total - 1);
    (await model.session({ id: "wait" })).close();
  });

  test("with a name that is none are refused", async () => {
    const error = await failure(createBaton({ model })().doGenerate(asked("Hi", named(""))));
    expect([error.code, error.facts.option]).toEqual(["OPTION_INVALID", "id"]);
  });
});

describe("a soft prompt", () => {
  test("stands before the conversation, and is read, not computed, the second time", async () => {
    const tiny = await loadTiny({ indexBytes: 4 << 20 });
    const baton = createBaton({ model: tiny })();
    const source = { text: "Answer as a sailor would. ", virtualTokens: 20 };
    const given = { maxOutputTokens: 4, providerOptions: { baton: { prompt: source, session: "soft" } } };
    const plain = await baton.doGenerate(asked("Hi", { maxOutputTokens: 4 }));
    const first = await baton.doGenerate(asked("Hi", given));
    expect(first.usage.inputTokens.total).toBe(plain.usage.inputTokens.total + 20);
    expect(first.content).not.toEqual(plain.content);
    const second = await baton.doGenerate(asked("Hi", given));
    expect(second.content).toEqual(first.content);
    expect(second.usage.inputTokens.cacheRead).toBe(first.usage.inputTokens.total - 1);
    // Another one is another text from the first row on.
    const bare = await baton.doGenerate(asked("Hi", { maxOutputTokens: 4, ...named("soft") }));
    expect(bare.content).toEqual(plain.content);
    const error = await failure(
      baton.doGenerate(asked("Hi", { providerOptions: { baton: { prompt: "no/such/folder" } } })),
    );
    expect(error.code).toBe("PROMPT_INVALID");
    await tiny.close();
  });
});

test("an answer that reads the same is the tokens that were written", () => {
  const { tokenizer } = model;
  const encode = (text: string) => [...tokenizer.encode(text, { specials: true })];
  const prompt = encode("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  const output = [..."lighthouse"].flatMap((letter) => encode(letter));
  const rest = encode("<|im_end|>\n<|im_start|>user\nMore<|im_end|>\n");
  const again = [...prompt, ...encode("lighthouse"), ...rest];
  expect(output.length).toBeGreaterThan(encode("lighthouse").length);
  expect(inWrittenTokens(again, { prompt, output }, tokenizer)).toEqual([...prompt, ...output, ...rest]);
  const other = [...prompt, ...encode("lighthouses"), ...rest];
  expect(inWrittenTokens(other, { prompt, output }, tokenizer)).toEqual(other);
  expect(inWrittenTokens(rest, { prompt, output }, tokenizer)).toEqual(rest);
  expect(inWrittenTokens(again, null, tokenizer)).toEqual(again);
});
