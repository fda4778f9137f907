// SPDX-License-Identifier: Apache-2.0
// The official client against a real server: what it gets is what the library writes, whole and streamed, with usage that
// counts rows.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TestServer } from "./support.js";
import { bare, bareResult, greedy, hello, metric, refused, startServer, user } from "./support.js";

let here: TestServer;
beforeAll(async () => {
  here = await startServer();
});
afterAll(() => here[Symbol.asyncDispose]());

const question = hello.messages[0]?.content ?? "";

describe("chat completions", () => {
  test("are what the library writes behind the template's rows", async () => {
    const answer = await here.client().chat.completions.create(hello);
    expect(answer.choices).toHaveLength(1);
    expect(answer.choices[0]?.message).toEqual({
      role: "assistant",
      content: await bare(here.model, question),
      refusal: null,
    });
    expect(answer.choices[0]?.finish_reason).toBe("length");
    expect(answer.object).toBe("chat.completion");
    expect(answer.usage?.completion_tokens).toBe(12);
    expect(answer.usage?.prompt_tokens).toBe(here.model.template().encode(hello.messages).length);
  });

  test("count rows that were found again as cached tokens", async () => {
    const text = "What does the museum of Marsk keep, and who may see it on which days?";
    const ask = () => here.client().chat.completions.create({ ...greedy, messages: [user(text)] });
    const [first, again] = [await ask(), await ask()];
    expect(first.usage?.prompt_tokens_details?.cached_tokens).toBe(0);
    const rows = again.usage?.prompt_tokens ?? 0;
    expect(again.usage?.prompt_tokens_details?.cached_tokens).toBe(Math.floor((rows - 1) / 16) * 16);
    expect(again.choices[0]?.message.content).toBe(first.choices[0]?.message.content);
    expect(again.id).not.toBe(first.id);
  });

  test("stream the same text in the same format, and the usage if it is asked for", async () => {
    const whole = await here.client().chat.completions.create(hello);
    const plain = await here.client().chat.completions.create({ ...hello, stream: true });
    let text = "";
    let last = "";
    for await (const chunk of plain) {
      expect(chunk.object).toBe("chat.completion.chunk");
      expect(chunk.choices).toHaveLength(1);
      expect("usage" in chunk).toBe(false);
      text += chunk.choices[0]?.delta.content ?? "";
      last = chunk.choices[0]?.finish_reason ?? last;
    }
    expect([text, last]).toEqual([whole.choices[0]?.message.content, "length"]);
    const counted = await here
      .client()
      .chat.completions.create({ ...hello, stream: true, stream_options: { include_usage: true } });
    const usages = [];
    for await (const chunk of counted) usages.push(chunk.usage);
    expect(usages.at(-1)).toMatchObject({ completion_tokens: 12, prompt_tokens: whole.usage?.prompt_tokens });
    expect(usages.slice(0, -1).every((usage) => usage === null)).toBe(true);
  });

  test("work with the client's own helpers", async () => {
    const stream = here.client().chat.completions.stream(hello);
    expect(await stream.finalContent()).toBe(await bare(here.model, question));
  });

  test("end with [DONE]", async () => {
    const response = await fetch(`${here.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...hello, stream: true }),
    });
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    const events = (await response.text()).split("\n\n");
    expect(events.slice(-2)).toEqual(["data: [DONE]", ""]);
    expect(events.filter((event) => event.startsWith("data: {"))).toHaveLength(events.length - 2);
  });

  test("take texts in parts, and developers for the system", async () => {
    const parts = [
      { role: "developer" as const, content: "Be brief." },
      {
        role: "user" as const,
        content: [
          { type: "text" as const, text: "How " },
          { type: "text" as const, text: "long?" },
        ],
      },
    ];
    const one = await here.client().chat.completions.create({ ...greedy, messages: parts });
    const messages = [{ role: "system" as const, content: "Be brief." }, user("How long?")];
    const other = await here.client().chat.completions.create({ ...greedy, messages });
    expect(one.choices[0]?.message.content).toBe(other.choices[0]?.message.content);
    const again = [...messages, one.choices[0]?.message as never, user("And then?")];
    await here.client().chat.completions.create({ ...greedy, messages: again }); // an answer handed back as it came
  });

  test("report log-probabilities, streamed ones the same", async () => {
    const asked = { ...hello, logprobs: true, top_logprobs: 3 };
    const whole = await here.client().chat.completions.create(asked);
    const content = whole.choices[0]?.logprobs?.content ?? [];
    expect(content).toHaveLength(12);
    for (const { logprob, top_logprobs: top } of content) {
      expect(top).toHaveLength(3);
      expect(top[0]?.logprob).toBe(logprob); // greedy takes the likeliest
    }
    const streamed = [];
    for await (const chunk of await here.client().chat.completions.create({ ...asked, stream: true }))
      streamed.push(...(chunk.choices[0]?.logprobs?.content ?? []));
    expect(streamed).toEqual(content);
  });
});

describe("sampling", () => {
  const ask = async (more: object) => {
    const answer = await here.client().chat.completions.create({ ...hello, ...more });
    return answer.choices[0]?.message.content;
  };

  test("has another seed for every request, unless it is given", async () => {
    const free = await Promise.all([1, 2, 3, 4].map(() => ask({ temperature: 1 })));
    expect(new Set(free).size).toBeGreaterThan(1);
    const fixed = await Promise.all([1, 2].map(() => ask({ temperature: 1, seed: -7 })));
    expect(fixed[0]).toBe(fixed[1]);
  });

  test("bans by logit_bias, ends at stop strings and at max_completion_tokens", async () => {
    const text = (await ask({})) ?? "";
    const [first = 0] = (await bareResult(here.model, question)).tokens;
    const banned = await ask({ logit_bias: { [first]: -100 } });
    expect(banned).not.toBe(text);
    const stop = /[ -~]{2}/.exec(text)?.[0] ?? ""; // whole characters, as a part of one is no text
    expect(await ask({ stop: [stop] })).toBe(text.slice(0, text.indexOf(stop)));
    const short = await here.client().chat.completions.create({
      ...{ model: "tiny", messages: hello.messages, temperature: 0 },
      max_completion_tokens: 3,
    });
    expect(short.usage?.completion_tokens).toBe(3);
  });
});

describe("completions", () => {
  test("continue a text, token ids and a list of one alike", async () => {
    const prompt = "The harbour of Marsk";
    const ids = [...here.model.tokenizer.encode(prompt, { specials: false })];
    const texts = [];
    for (const one of [prompt, [prompt], ids, [ids]] as (string | number[])[]) {
      const answer = await here.client().completions.create({ ...greedy, prompt: one });
      expect(answer.object).toBe("text_completion");
      texts.push(answer.choices[0]?.text);
    }
    expect(new Set(texts).size).toBe(1);
    let streamed = "";
    for await (const chunk of await here.client().completions.create({ ...greedy, prompt, stream: true }))
      streamed += chunk.choices[0]?.text;
    expect(streamed).toBe(texts[0]);
  });

  test("report log-probabilities with the places of tokens", async () => {
    const answer = await here.client().completions.create({ ...greedy, prompt: "Marsk", logprobs: 2 });
    const { text, logprobs } = answer.choices[0] ?? {};
    expect(logprobs?.tokens).toHaveLength(12);
    expect(logprobs?.tokens?.join("").length).toBeGreaterThan(0);
    expect(logprobs?.text_offset?.[1]).toBe(logprobs?.tokens?.[0]?.length);
    expect(text).toBeTypeOf("string");
  });
});

test("the list of models is what can be asked for, and another one is not found by name", async () => {
  const { data } = await here.client().models.list();
  expect(data.map(({ id }) => id)).toEqual(["tiny"]);
  const error = await refused(here.client().chat.completions.create({ ...hello, model: "gpt-4o" }));
  expect([error.status, error.code, error.param]).toEqual([404, "model_not_found", "model"]);
  expect(error.message).toContain("tiny");
});

test("a context that is too short is said in OpenAI's words", async () => {
  const messages = [user("harbour ".repeat(400))];
  const error = await refused(here.client().chat.completions.create({ ...hello, messages }));
  expect([error.status, error.code]).toEqual([400, "context_length_exceeded"]);
});

test("what is more than the whole cache is refused for good; what others leave no room for is not", async () => {
  const { blockBytes, blockRows } = here.model.info;
  await using small = await startServer({ load: { indexBytes: 0, cacheBytes: 8 * blockBytes } });
  const ask = (blocks: number) => {
    const prompt = new Array(blocks * blockRows).fill(5);
    return small.client().completions.create({ ...greedy, max_tokens: 1, prompt });
  };
  const never = await refused(ask(9));
  expect([never.status, never.code]).toEqual([400, "context_length_exceeded"]);
  expect(never.message).toContain("Shorten it");
  const other = small.model.cache.open();
  await other.append(new Array(6 * blockRows).fill(5));
  const passing = await refused(ask(4));
  expect([passing.status, passing.code]).toEqual([503, "cache_budget"]);
  other.close();
  expect((await ask(4)).choices).toHaveLength(1);
});

test("an abort in the client ends the output and frees its rows", async () => {
  const stop = new AbortController();
  const used = () => here.model.stats().usedBytes;
  const before = used();
  const stream = await here
    .client()
    .chat.completions.create({ ...hello, max_tokens: 400, stream: true }, { signal: stop.signal });
  for await (const _ of stream) stop.abort();
  await expect.poll(used).toBe(before);
  expect(here.model.activity().jobs).toBe(0);
});

test("figures of /metrics are those of the answers", async () => {
  const before = await metric(here.url, "baton_tokens_total", 'kind="completion"');
  const requests = await metric(here.url, "baton_requests_total", 'route="/v1/chat/completions"');
  await here.client().chat.completions.create(hello);
  expect(await metric(here.url, "baton_tokens_total", 'kind="completion"')).toBe(before + 12);
  expect(await metric(here.url, "baton_requests_total", 'route="/v1/chat/completions"')).toBe(requests + 1);
  expect(await metric(here.url, "baton_rows_reused_total")).toBeGreaterThan(0);
  expect(await metric(here.url, "baton_kv_budget_bytes", 'model="tiny"')).toBe(
    here.model.stats().budgetBytes,
  );
});
