// SPDX-License-Identifier: Apache-2.0
// "Did you mean": what is near enough to be said, and that every place that refuses a name says it.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createBaton } from "../src/ai-sdk/index.js";
import { runProgram } from "../src/cli/program.js";
import type { Model } from "../src/index.js";
import { chainFromDocument, defineChain, parseChainDocument, resolveModel, tune } from "../src/index.js";
import { createServer } from "../src/serve/index.js";
import { didYouMean, nearest } from "../src/suggest.js";
import { loadTiny, tinyPath } from "./chain/tiny-model.js";

describe("the nearest name", () => {
  const known = ["question", "passages", "compress", "answer", "a"];
  test.each([
    ["quesiton", "question"],
    ["Question", "question"],
    ["passage", "passages"],
    ["compresss", "compress"],
    ["anwser", "answer"],
    ["answer2", "answer"],
  ])("of %s is %s", (name, wanted) => expect(nearest(name, known)).toBe(wanted));

  test.each(["", "zebra", "b", "quest", "x".repeat(5000)])("of %j is none", (name) =>
    expect(nearest(name, known)).toBeNull(),
  );

  test("with nothing known, a value that is no name, or the name itself, nothing is said", () => {
    expect([didYouMean("answer", []), didYouMean(7, known), didYouMean("answer", known)]).toEqual([
      "",
      "",
      "",
    ]);
    expect(didYouMean("anwser", known)).toBe(' Did you mean "answer"?');
  });
});

let model: Model;
let folder = "";
beforeAll(async () => {
  model = await loadTiny();
  folder = mkdtempSync(join(tmpdir(), "baton-suggest-"));
  writeFileSync(join(folder, "chain.mjs"), "export default {};\n");
});
afterAll(async () => {
  await model.close();
  rmSync(folder, { recursive: true, force: true });
});

const closers = { closers: ["<|endoftext|>"] };
const chain = () => defineChain(model).input("question").stage("answer", closers);
const steps = (...all: object[]) => ({ model: tinyPath, steps: [{ input: "question" }, ...all] });
const document = (value: object) => chainFromDocument(model, parseChainDocument(value));
const tuned = { data: "none.jsonl", checkpoint: null };

/** What is refused, by what it is. */
const refusals: [what: string, wanted: string, refused: () => unknown][] = [
  ["an input of a run", "question", () => chain().run({ quesion: "?" } as never).result],
  ["a stage that reads", "question", () => chain().stage("b", { ...closers, reads: ["qestion"] as never })],
  [
    "an own input",
    "question",
    () =>
      defineChain(model)
        .input("question")
        .stage("b", { own: ["qestion"] as never }),
  ],
  ["an option of a stage", "temperature", () => chain().stage("b", { temprature: 1 } as never)],
  ["an option of a step", "max", () => chain().rounds("r", (round) => round.stage("s"), { mx: 2 } as never)],
  ["a layout", "concatenated", () => defineChain(model, { layout: "concatenatd" as never })],
  ["a stage's prompt", "answer", () => chain().withPrompts({ anser: { text: "x" } } as never)],
  ["a picture", "mermaid", async () => (await chain().explain({ question: "?" })).draw("mermiad" as never)],
  ["a field of a document", "maxTokens", () => document(steps({ stage: "a", maxToken: 3 }))],
  ["a document's option", "threads", () => document({ ...steps({ stage: "a" }), options: { thread: 2 } })],
  [
    "a model",
    "smollm2-135m-instruct",
    () => resolveModel("smollm2-135m-instuct", { env: {}, cacheDir: folder }),
  ],
  [
    "an option of tune",
    "epochs",
    () => tune(chain(), { ...tuned, stages: ["answer"], epoch: 1 } as never).result,
  ],
  ["a stage to tune", "answer", () => tune(chain(), { ...tuned, stages: ["answr"] } as never).result],
  [
    "a chain of a provider",
    "chain:quiz",
    () => createBaton({ model, chains: { quiz: { chain: chain() } } }).languageModel("chain:quizz"),
  ],
];

test.each(refusals)("%s: %s", async (_, wanted, refused) => {
  const error = await (async () => refused())().then(
    () => null,
    (thrown: Error) => thrown,
  );
  expect(error?.message).toContain(` Did you mean "${wanted}"?`);
});

test.each([
  [["doctr"], /Did you mean doctor\?/],
  [["doctor", "--jsno"], /Did you mean --json\?/],
  [["run", "chain.mj"], /Did you mean "chain\.mjs"\?/],
])("the program, called %j", async (args, says) => {
  let written = "";
  const terminal = { stdout: { write() {} }, stderr: { write: (text: string) => (written += text) } };
  const context = {
    terminal,
    signal: new AbortController().signal,
    directory: folder,
    stdin: Readable.from([]),
  };
  expect(await runProgram(args, context)).toBe(2);
  expect(written).toMatch(says);
});

test("the server, for models, chains and fields", async () => {
  const server = await createServer({
    models: { tiny: model },
    chains: { quiz: { load: async () => ({ chain: chain(), files: [] }) } },
  });
  const ask = async (path: string, body: object) => {
    const init = {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    };
    const answer = await server.fetch(new Request(`http://localhost${path}`, init));
    return ((await answer.json()) as { error: { message: string } }).error.message;
  };
  try {
    expect(await ask("/v1/completions", { model: "tinny", prompt: "x" })).toContain('Did you mean "tiny"?');
    expect(await ask("/v1/chains/quis", { inputs: {} })).toContain('Did you mean "quiz"?');
    expect(await ask("/v1/completions", { model: "tiny", prompt: "x", max_token: 1 })).toContain(
      'Did you mean "max_tokens"?',
    );
  } finally {
    await server.close();
  }
});
