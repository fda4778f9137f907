// SPDX-License-Identifier: Apache-2.0
// `baton serve` as a program: what it serves under which names, what it refuses before it opens anything, and its end by a
// signal, which finishes what is in progress.

import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ensureTypeScript } from "../../scripts/lib/ensure.mjs";
import { runProgram } from "../../src/cli/program.js";
import { tinyPath } from "../chain/tiny-model.js";
import { metric } from "../serve/support.js";

let directory = "";
beforeAll(async () => {
  await ensureTypeScript();
  directory = mkdtempSync(join(tmpdir(), "baton-serve-"));
  const steps = [
    { input: "question" },
    { input: "passage", from: "find" },
    { stage: "answer", maxTokens: 4, closers: ["<|endoftext|>"] },
  ];
  const options = { threads: 1, cacheBytes: 8 << 20 };
  writeFileSync(join(directory, "qa.json"), JSON.stringify({ model: tinyPath, options, steps }));
  writeFileSync(
    join(directory, "functions.mjs"),
    `export const find = () => new Promise((resolve) => setTimeout(resolve, 2000, "The harbour freezes."));\n`,
  );
  writeFileSync(join(directory, "keys.txt"), "# ours\na-key-of-some-length\n");
  writeFileSync(join(directory, "empty.txt"), "\n");
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Runs until `use` has ended, then ends it as Ctrl-C does. */
async function serve(args: string[], use: (url: string) => Promise<void> = async () => {}) {
  const stop = new AbortController();
  const err: string[] = [];
  const out: string[] = [];
  let used: Promise<void> | null = null;
  const write = (text: string) => {
    out.push(text);
    const url = /at (http:\S+)\/v1/.exec(text)?.[1] ?? /"url":"([^"]+)"/.exec(text)?.[1];
    if (url !== undefined) used = use(url).finally(() => stop.abort());
  };
  const code = await runProgram(["serve", "--port", "0", ...args], {
    terminal: { stdout: { write }, stderr: { write: (text) => err.push(text) } },
    ...{ signal: stop.signal, directory, stdin: (async function* () {})() },
  });
  await used;
  return { code, stderr: err.join(""), stdout: out.join("") };
}

const chain = ["qa.json", "--functions", "functions.mjs"];

test("serves chains and their models under the names of their files", async () => {
  const { code, stderr } = await serve(["other=qa.json", ...chain], async (url) => {
    const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string }[] };
    expect(data.map(({ id }) => id)).toEqual(["tiny-q8_0", "chain:other", "chain:qa"]);
    const answer = await fetch(`${url}/v1/chains/other`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ inputs: { question: "How long?" } }),
    });
    expect(await answer.json()).toMatchObject({ results: { answer: { reason: "length" } } });
  });
  expect(code).toBe(0);
  expect(stderr).toMatch(/POST \/v1\/chains\/\{name\} 200 [\d.]+ ms/);
});

test("takes keys from a file and from the environment, models by name, and is quiet if it is told", async () => {
  process.env.BATON_API_KEYS = "a-key-of-the-environment, another-one-of-it";
  try {
    const args = ["--keys", "keys.txt", "--model", `small=${tinyPath}`, "--quiet"];
    const { code, stderr } = await serve(args, async (url) => {
      const statusOf = async (key: string) =>
        (await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).status;
      for (const key of ["a-key-of-some-length", "a-key-of-the-environment", "another-one-of-it"])
        expect(await statusOf(key)).toBe(200);
      expect(await statusOf("# ours")).toBe(401);
    });
    expect([code, stderr.includes("GET /v1/models")]).toEqual([0, false]);
  } finally {
    delete process.env.BATON_API_KEYS;
  }
});

test("with --json says where it is and what it logs as JSON, a line each", async () => {
  const { code, stdout, stderr } = await serve([...chain, "--json"], async (url) => {
    expect((await fetch(`${url}/v1/models`)).status).toBe(200);
  });
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ models: ["tiny-q8_0"], chains: ["qa"] });
  const lines = stderr
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(lines[0]).toMatchObject({ event: "request", method: "GET", path: "/v1/models", status: 200 });
  expect(lines.at(-1)).toMatchObject({ event: "note", message: "draining; once more to stop at once" });
  for (const { time } of lines) expect(Date.parse(time)).toBeGreaterThan(0);
});

test("--cache-folder keeps for the next server what this one has computed, in a folder for each model", async () => {
  const cached: number[] = [];
  const args = ["--model", `a/b=${tinyPath}`, "--cache-folder", "kept"];
  for (let i = 0; i < 2; i++) {
    const { code } = await serve(args, async (url) => {
      const answer = await fetch(`${url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "a/b", prompt: "The harbour freezes. ".repeat(8), max_tokens: 2 }),
      });
      const { usage } = (await answer.json()) as {
        usage: { prompt_tokens_details: { cached_tokens: number } };
      };
      cached.push(usage.prompt_tokens_details.cached_tokens);
    });
    expect(code).toBe(0);
  }
  expect(readdirSync(join(directory, "kept"))).toEqual(["a%2Fb"]);
  expect(cached[0]).toBe(0);
  expect(cached[1]).toBeGreaterThan(0);
});

describe("refuses", () => {
  const cases: [string, string[], number, RegExp][] = [
    ["nothing to serve", [], 2, /Name chain files, or models/],
    ["two chains of one name", ["qa.json", ...chain], 2, /other=qa\.json/],
    ["a file that is not there", ["none.json"], 2, /There is no file/],
    ["an address without keys", [...chain, "--host", "0.0.0.0"], 1, /Give keys, or say `open`/],
    ["keys that are none", [...chain, "--keys", "empty.txt"], 1, /has no key/],
    ["a file of keys that is not there", [...chain, "--keys", "none.txt"], 1, /Cannot read the keys/],
    ["a port that is none", [...chain, "--port", "x"], 2, /no whole number/],
    ["a folder of prompts that is not there", [...chain, "--prompts", "nowhere"], 1, /folder of prompts/],
    ["one model in two ways", [...chain, "--model", `small=${tinyPath}`], 2, /different options/],
  ];
  test.each(cases)("%s", async (_, args, code, message) => {
    const run = await serve(args);
    expect(run.stderr).toMatch(message);
    expect(run.code).toBe(code);
  });
});

test("ends by SIGTERM when what is in progress has been answered, with exit code 0", async () => {
  const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
  const child = spawn(process.execPath, [main, "serve", "--port", "0", ...chain], { cwd: directory });
  let out = "";
  const url = await new Promise<string>((resolve) => {
    child.stdout.on("data", (part) => {
      out += part;
      const found = /at (http:\S+)\/v1/.exec(out)?.[1];
      if (found !== undefined) resolve(found);
    });
  });
  const answer = fetch(`${url}/v1/chains/qa`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ inputs: { question: "How long?" } }),
  });
  // it has come, and waits for the chain's own code
  await expect.poll(() => metric(url, "baton_computing"), { timeout: 30_000, interval: 20 }).toBe(1);
  const ended = new Promise((resolve) => child.on("exit", (code, signal) => resolve(code ?? signal)));
  child.kill("SIGTERM");
  expect((await answer).status).toBe(200);
  expect(await ended).toBe(0);
});
