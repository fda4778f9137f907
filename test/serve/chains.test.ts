// SPDX-License-Identifier: Apache-2.0
// Chains behind the server: as models, and with the results of all stages; what they are given is checked like everything
// else, and what they write is what they write alone.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Model } from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import { passages, question } from "../chain/tiny-model.js";
import type { TestServer } from "./support.js";
import { metric, refused, startServer, user } from "./support.js";

const stage = { maxTokens: 8, closers: [] };

function chains(model: Model) {
  const qa = defineChain(model)
    .input("question")
    .input("passages")
    .stage("compress", { prompt: { text: "Shorten." }, own: ["passages"], ...stage })
    .stage("answer", { prompt: { text: "Answer." }, opener: "Answer:", ...stage });
  const alone = defineChain(model).input("question").stage("answer", stage);
  const votes = defineChain(model)
    .input("question")
    .fanOut("votes", { samples: 3 }, (branch) => branch.stage("vote", { ...stage, temperature: 1 }));
  const failing = defineChain(model)
    .input("question")
    .input("found", {
      from: () => {
        throw new Error("the database at /srv/secret is down");
      },
    })
    .stage("answer", stage);
  return { qa, alone, votes, failing };
}

let here: TestServer;
beforeAll(async () => {
  here = await startServer({ chains });
});
afterAll(() => here[Symbol.asyncDispose]());

const inputs = { question, passages };
const alone = () => chains(here.model).qa.run(inputs, { salt: "alone" }).result;
const asModel = { model: "chain:qa", messages: [user(question)], inputs: { passages } };

/** Events of a stream: name and data. */
async function eventsOf(body: object, path: string): Promise<[string, Record<string, unknown>][]> {
  const response = await fetch(here.url + path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...body, stream: true }),
  });
  const text = await response.text();
  expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
  return text
    .split("\n\n")
    .slice(0, -2)
    .map((event) => {
      const [, name = "", data = ""] = /^event: (.*)\ndata: (.*)$/.exec(event) ?? [];
      return [name, JSON.parse(data)];
    });
}

describe("POST /v1/chains/{name}", () => {
  test("gives the results of all stages, and the usage of all", async () => {
    const { status, body } = await here.post("/v1/chains/qa", { inputs });
    expect(status).toBe(200);
    const expected = await alone();
    for (const name of ["compress", "answer"] as const) {
      const { text, tokens, reason } = expected[name];
      expect(body.results?.[name]).toMatchObject({ text, tokens, reason });
    }
    expect(body).toMatchObject({ object: "chain.run", chain: "qa", usage: { completion_tokens: 16 } });
    const again = (await here.post("/v1/chains/qa", { inputs })).body;
    expect(again.usage?.prompt_tokens).toBe(body.usage?.prompt_tokens);
    expect(again.usage?.prompt_tokens_details.cached_tokens).toBeGreaterThan(
      body.usage?.prompt_tokens_details.cached_tokens ?? 0,
    );
  });

  test("streams the events of the run, then the same results", async () => {
    const events = await eventsOf({ inputs }, "/v1/chains/qa");
    const texts = { compress: "", answer: "" };
    for (const [name, data] of events) {
      if (name === "text-delta") texts[data.stage as keyof typeof texts] += data.text;
    }
    const { compress, answer } = await alone();
    expect(texts).toEqual({ compress: compress.text, answer: answer.text });
    expect(events.filter(([name]) => name === "stage-end")).toHaveLength(2);
    const [last, result] = events.at(-1) ?? [];
    expect(last).toBe("result");
    expect(result).toMatchObject({ object: "chain.run", results: { answer: { text: answer.text } } });
  });

  test("has groups as the library has them", async () => {
    const { body } = await here.post("/v1/chains/votes", { inputs: { question } });
    const votes = body.results?.votes as unknown as { vote: { text: string } }[];
    expect(votes.map(({ vote }) => vote.text.length > 0)).toEqual([true, true, true]);
  });

  test("names the inputs that are missing, unknown or empty", async () => {
    const cases: [object, string][] = [
      [{ question }, "inputs.passages"],
      [{ ...inputs, more: "x" }, "inputs.more"],
      [{ question, passages: "" }, "inputs.passages"],
    ];
    for (const stream of [false, true]) {
      for (const [given, param] of cases) {
        const { status, body } = await here.post("/v1/chains/qa", { inputs: given, stream });
        expect([status, body.error?.code, body.error?.param]).toEqual([400, "invalid_inputs", param]);
      }
    }
    const { body } = await here.post("/v1/chains/qa", { inputs: { question: 3 } });
    expect(body.error?.param).toBe("inputs.question");
    expect((await here.post("/v1/chains/none", { inputs })).body.error?.code).toBe("chain_not_found");
  });

  test("keeps what the program's own code has thrown to the log", async () => {
    const { status, body } = await here.post("/v1/chains/failing", { inputs: { question } });
    expect([status, body.error?.code]).toEqual([500, "step_failed"]);
    expect(JSON.stringify(body)).not.toContain("secret");
    const notes = here.logs.flatMap((entry) => (entry.event === "note" ? [String(entry.error)] : []));
    expect(notes.join()).toContain("the database at /srv/secret is down");
  });
});

describe("a chain as a model", () => {
  test("answers with its last stage, whole and streamed", async () => {
    const { answer } = await alone();
    const whole = await here.client().chat.completions.create(asModel as never);
    expect(whole).toMatchObject({ model: "chain:qa", object: "chat.completion" });
    expect(whole.choices[0]?.message.content).toBe(answer.text);
    const body = { ...asModel, stream: true as const, stream_options: { include_usage: true } };
    let text = "";
    let usage: unknown;
    for await (const chunk of await here.client().chat.completions.create(body)) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage ?? usage;
    }
    expect(text).toBe(answer.text);
    expect(usage).toMatchObject({ completion_tokens: 16, prompt_tokens: whole.usage?.prompt_tokens });
    expect(
      await metric(here.url, "baton_tokens_total", 'model="chain:qa",kind="completion"'),
    ).toBeGreaterThan(31);
  });

  test("needs no `inputs` if it has one", async () => {
    const { answer } = await chains(here.model).alone.run({ question }).result;
    const body = { model: "chain:alone", messages: [user(question)] };
    const whole = await here.client().chat.completions.create(body);
    expect(whole.choices[0]?.message.content).toBe(answer.text);
  });

  test("refuses what has no meaning for it", async () => {
    const cases: [object, string, string][] = [
      [{ temperature: 0 }, "unsupported_parameter", "temperature"],
      [{ max_tokens: 3 }, "unsupported_parameter", "max_tokens"],
      [{ session: "s" }, "unsupported_parameter", "session"],
      [{ prompt: "x" }, "unsupported_parameter", "prompt"],
      [{ messages: [user("a"), user("b")] }, "unsupported_parameter", "messages"],
      [{ messages: [{ role: "system", content: "Be brief." }] }, "unsupported_parameter", "messages"],
      [{ inputs: null }, "invalid_inputs", "inputs"],
      [{ inputs: { passages, question } }, "invalid_inputs", "inputs"],
      [{ model: "chain:votes", inputs: null }, "no_answer", "model"],
    ];
    for (const [more, code, param] of cases) {
      const error = await refused(here.client().chat.completions.create({ ...asModel, ...more } as never));
      expect([error.status, error.code, error.param]).toEqual([400, code, param]);
    }
    const other = await refused(
      here.client().chat.completions.create({ ...asModel, model: "chain:none" } as never),
    );
    expect([other.status, other.code]).toEqual([404, "chain_not_found"]);
    const text = await here.post("/v1/completions", { model: "chain:qa", prompt: "x" });
    expect(text.body.error?.code).toBe("unsupported_parameter");
  });

  test("is listed among the models", async () => {
    const { data } = await here.client().models.list();
    expect(data.map(({ id }) => id)).toEqual([
      "tiny",
      "chain:qa",
      "chain:alone",
      "chain:votes",
      "chain:failing",
    ]);
  });
});
