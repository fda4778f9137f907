// SPDX-License-Identifier: Apache-2.0
// Files that change while they are served. A request sees all of the old or all of the new, whenever it comes; what is
// broken changes nothing and is told once; prompts come, change and go by their names.

import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Model } from "../../src/index.js";
import { chainFromDocument } from "../../src/index.js";
import { formatSafetensors } from "../../src/model/safetensors.js";
import type { ChainSource } from "../../src/serve/index.js";
import { Watched } from "../../src/serve/watched.js";
import type { TestServer } from "./support.js";
import { eventually, greedy, metric, startServer, user } from "./support.js";

let folder: string;
let here: TestServer | null = null;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "baton-reload-"));
});
afterEach(async () => {
  await here?.[Symbol.asyncDispose]();
  here = null;
  rmSync(folder, { recursive: true, force: true });
});

const hidden = 64;

const rowsOf = (seed: number, width: number) =>
  Float32Array.from({ length: 4 * width }, (_, i) => Math.sin(i * 0.7 + seed * 31) * 0.2);

/** A PEFT folder of four rows, other ones for every `seed`; `width` for another model. */
function writePrompt(name: string, seed: number, width = hidden): void {
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  const tensors = new Map([["prompt_embeddings", { shape: [4, width], data: rowsOf(seed, width) }]]);
  writeFileSync(
    join(path, "adapter_config.json"),
    JSON.stringify({ peft_type: "PROMPT_TUNING", num_virtual_tokens: 4, token_dim: width }),
  );
  writeFileSync(join(path, "adapter_model.safetensors"), formatSafetensors(tensors));
}

/** A chain whose first stage is said by the document and whose second by a prompt's folder. */
function writeDocument(text: string): void {
  const stage = { maxTokens: 6, closers: ["<|endoftext|>"] };
  const steps = [
    { input: "question" },
    { stage: "before", prompt: { text }, ...stage },
    { stage: "answer", prompt: "prompts/answer", ...stage },
  ];
  const path = join(folder, "chain.json");
  writeFileSync(`${path}.new`, JSON.stringify({ model: "tiny", steps }));
  renameSync(`${path}.new`, path);
}

function source(model: Model): ChainSource {
  const file = join(folder, "chain.json");
  return {
    async load() {
      return {
        chain: chainFromDocument(model, JSON.parse(readFileSync(file, "utf8")), { file }),
        files: [file],
      };
    },
  };
}

const start = (options: Parameters<typeof startServer>[0] = {}) =>
  startServer({ chains: (model) => ({ qa: source(model) }), ...options });

async function ask(server: TestServer, more: object = {}): Promise<string> {
  const { status, body } = await server.post("/v1/chains/qa", { inputs: { question: "How long?" }, ...more });
  return status === 200
    ? `${body.results?.before?.text}|${body.results?.answer?.text}`
    : `${body.error?.code}`;
}

const notes = (server: TestServer) =>
  server.logs.flatMap((entry) => (entry.event === "note" ? [entry.message] : []));

describe("a chain of files", () => {
  test("is served as it was until all of the new is there; what is broken changes nothing and is told once", async () => {
    writePrompt("prompts/answer", 1);
    writeDocument("Shorten.");
    const server = await start();
    here = server;
    const old = await ask(server);
    writeDocument("Explain at length.");
    expect(await ask(server)).toBe(old); // nobody has looked yet
    await server.server.reload();
    const now = await ask(server);
    expect(now).not.toBe(old);
    expect(notes(server)).toEqual(['chain "qa" was loaded again']);

    writeFileSync(join(folder, "chain.json"), '{ "model": ');
    for (let turn = 0; turn < 3; turn++) await server.server.reload();
    expect(await ask(server)).toBe(now);
    expect(notes(server).slice(1)).toEqual(['chain "qa" stays as it was']);
    rmSync(join(folder, "chain.json"));
    await server.server.reload();
    expect(await ask(server)).toBe(now);
    expect(await metric(server.url, "baton_reloads_total", 'outcome="broken"')).toBe(2);

    writeDocument("Shorten.");
    await server.server.reload();
    expect(await ask(server)).toBe(old);
  });

  test("is loaded again when a prompt of it changes; a broken prompt changes nothing", async () => {
    writePrompt("prompts/answer", 1);
    writeDocument("Shorten.");
    const server = await start();
    here = server;
    const old = await ask(server);
    writePrompt("prompts/answer", 2);
    await server.server.reload();
    const now = await ask(server);
    expect(now).not.toBe(old);
    expect(now.split("|")[0]).toBe(old.split("|")[0]);
    writeFileSync(join(folder, "prompts/answer/adapter_model.safetensors"), "no tensors");
    await server.server.reload();
    expect(await ask(server)).toBe(now);
  });

  test("is never a mixture, however requests and writes fall together", async () => {
    const write = async (seed: number) => {
      writeDocument(seed === 1 ? "Shorten." : "Explain at length.");
      await new Promise((resolve) => setTimeout(resolve, 3)); // a request or a look may come here
      writePrompt("prompts/answer", seed);
    };
    await write(1);
    const server = await start({ reloadMs: 25 });
    here = server;
    const seen = new Map<string, number>();
    const expected = new Set([await ask(server)]);
    await write(2);
    expect(await eventually(() => notes(server).length === 1)).toBe(true);
    expected.add(await ask(server));
    expect(expected.size).toBe(2);
    let writing = true;
    const writer = (async () => {
      for (let turn = 1; turn <= 100 && (turn <= 10 || seen.size < 2); turn++) {
        await write((turn % 2) + 1);
        await new Promise((resolve) => setTimeout(resolve, 50 + 25 * (turn % 7)));
      }
      writing = false;
    })();
    while (writing) {
      const answers = await Promise.all([1, 2, 3, 4].map(() => ask(server)));
      for (const one of answers) seen.set(one, (seen.get(one) ?? 0) + 1);
    }
    await writer;
    expect([...seen.keys()].every((one) => expected.has(one))).toBe(true);
    expect(seen.size).toBe(2);
  });
});

describe("what is loaded of several files", () => {
  test("is of one state of them, also where they change while they are read", async () => {
    const [a, b] = [join(folder, "a"), join(folder, "b")];
    const write = (text: string) => {
      for (const file of [a, b]) writeFileSync(file, text);
    };
    write("0");
    let changes = 3; // in the middle of the first reads
    const load = async () => {
      const first = readFileSync(a, "utf8");
      if (changes > 0) write(String(changes--));
      return { value: first + readFileSync(b, "utf8"), files: [a, b] };
    };
    const watched = await Watched.open(load);
    expect(watched.value).toBe("11");
    changes = 1;
    write("8");
    expect(await watched.look(() => {})).toBe("unsettled");
    expect(await watched.look(() => {})).toBe("replaced");
    expect(watched.value).toBe("11");
    expect(await watched.look(() => {})).toBe("same");
  });

  test("is given up where they never rest", async () => {
    const file = join(folder, "a");
    let turn = 0;
    const load = async () => {
      writeFileSync(file, String(turn++));
      return { value: turn, files: [file] };
    };
    await expect(Watched.open(load)).rejects.toThrow("faster than they can be read");
  });
});

describe("prompts by name", () => {
  const chat = async (server: TestServer, prompt?: string) => {
    const body = { ...greedy, messages: [user("How long?")], ...(prompt && { prompt }) };
    const { status, body: answer } = await server.post("/v1/chat/completions", body);
    return status === 200
      ? {
          text: answer.choices?.[0]?.message.content ?? "",
          rows: answer.usage?.prompt_tokens ?? 0,
          usage: answer.usage,
        }
      : { code: answer.error?.code, param: answer.error?.param, message: answer.error?.message };
  };

  test("stand before the rows of chats and completions, and are computed once", async () => {
    writePrompt("library/one", 1);
    writePrompt("library/deep/two", 2);
    here = await startServer({ prompts: join(folder, "library") });
    const [plain, one, two] = [await chat(here), await chat(here, "one"), await chat(here, "deep/two")];
    expect(new Set([plain.text, one.text, two.text]).size).toBe(3);
    expect(one.rows).toBe((plain.rows ?? 0) + 4);
    const again = await chat(here, "one");
    expect(again.text).toBe(one.text);
    expect(again.usage?.prompt_tokens_details.cached_tokens).toBeGreaterThanOrEqual(4 + 16);
    const held = here.model.cache.open();
    const rows = rowsOf(1, hidden);
    await held.append({ rows, count: 4 });
    await held.append(here.model.template().encode([user("How long?")]));
    const { text } = await held.generate({ maxTokens: 12, closers: [] }).result;
    expect(one.text).toBe(text);
    held.close();
    const body = { ...greedy, prompt: "Marsk", soft_prompt: "one" };
    expect((await here.post("/v1/completions", body)).status).toBe(200);
    const session = await here.post("/v1/chat/completions", {
      ...greedy,
      ...{ messages: [user("How long?")], prompt: "one", session: "s" },
    });
    expect(session.body.choices?.[0]?.message.content).toBe(one.text);
  });

  test("take the places of a chain's own", async () => {
    writePrompt("prompts/answer", 1);
    writePrompt("library/one", 1);
    writePrompt("library/two", 2);
    writeDocument("Shorten.");
    const server = await start({ prompts: join(folder, "library") });
    here = server;
    const own = await ask(server);
    expect(await ask(server, { prompt: { answer: "one" } })).toBe(own);
    const other = await ask(server, { prompt: { answer: "two" } });
    expect(other).not.toBe(own);
    expect(await ask(server, { prompt: { answer: "two" } })).toBe(other);
    expect(await ask(server, { prompt: { answer: "three" } })).toBe("prompt_not_found");
    expect(await ask(server, { prompt: { answer: "../prompts/answer" } })).toBe("invalid_value");
    expect(await ask(server, { prompt: { nobody: "one" } })).toBe("invalid_inputs");
  });

  test("come, change and go; a broken one stays as it was, or away", async () => {
    writePrompt("library/one", 1);
    writePrompt("library/wide", 1, 128);
    const server = await startServer({ prompts: join(folder, "library") });
    here = server;
    expect(notes(server)).toEqual(['prompt "wide" is not served']);
    const old = await chat(server, "one");
    expect(await chat(server, "two")).toMatchObject({ code: "prompt_not_found", param: "prompt" });
    writePrompt("library/two", 2);
    writePrompt("library/one", 3);
    await server.server.reload();
    expect((await chat(server, "one")).text).not.toBe(old.text);
    expect((await chat(server, "two")).text).toBeTypeOf("string");
    writeFileSync(join(folder, "library/two/adapter_config.json"), "{}");
    rmSync(join(folder, "library/one"), { recursive: true });
    await server.server.reload();
    expect((await chat(server, "one")).code).toBe("prompt_not_found");
    expect((await chat(server, "two")).text).toBeTypeOf("string");
    expect(notes(server).slice(1)).toEqual([
      'prompt "one" was read again',
      'prompt "one" is gone',
      'prompt "two" stays as it was',
    ]);
  });

  test("do not lead out of their folder", async () => {
    writePrompt("library/one", 1);
    writePrompt("secret", 2);
    symlinkSync(join(folder, "secret"), join(folder, "library/link"));
    symlinkSync(join(folder, "library/one"), join(folder, "library/alias"));
    here = await startServer({ prompts: join(folder, "library") });
    expect((await chat(here, "link")).code).toBe("prompt_not_found");
    expect((await chat(here, "alias")).text).toBe((await chat(here, "one")).text);
  });
});
