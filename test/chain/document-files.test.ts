// SPDX-License-Identifier: Apache-2.0
// Documents that use documents in other files: the same results as the inlined document, and errors that name the files
// which lead to the mistake.

import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Model } from "../../src/index.js";
import { BatonError, chainFromDocument } from "../../src/index.js";
import { loadTiny, question } from "./tiny-model.js";

let model: Model;
beforeAll(async () => {
  model = await loadTiny();
});
afterAll(() => model.close());

let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "baton-documents-")));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const stage = { maxTokens: 5, closers: ["<|endoftext|>"] };
const at = (name: string) => join(folder, name);

function write(name: string, value: unknown): void {
  mkdirSync(join(at(name), ".."), { recursive: true });
  writeFileSync(at(name), typeof value === "string" ? value : JSON.stringify(value));
}

const use = (document: string) => ({ use: "sub", inputs: { text: "question" }, document });
const outer = (...steps: object[]) => ({ model: "tiny", steps: [{ input: "question" }, ...steps] });
const inner = (...steps: object[]) => ({ model: "tiny", steps: [{ input: "text" }, ...steps] });

/** The chain of the file `name`. */
function open(name: string, value: unknown, functions: Record<string, unknown> = {}) {
  write(name, value);
  return chainFromDocument(model, value, { file: at(name), functions });
}

function refused(name: string, value: unknown): BatonError {
  try {
    open(name, value);
  } catch (error) {
    if (BatonError.isInstance(error)) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const withoutUsage = (value: unknown) =>
  JSON.stringify(value, (key, one) => (key === "usage" ? undefined : one));

describe("a document that uses another file", () => {
  const again = { use: "twice", inputs: { text: "text" } };
  const twice = [
    { stage: "first", ...stage },
    { stage: "second", ...stage },
  ];
  const retrieve = [
    { stage: "query", ...stage },
    { input: "found", from: "search" },
  ];
  const functions = { search: ({ query }: { query: { text: string } }) => `${query.text.length} letters` };

  test("gives what the inlined document gives: segments, texts and counters, through two files", async () => {
    write("parts/twice.json", {
      model: "another",
      options: { threads: 2 },
      ...{ steps: inner(...twice).steps },
    });
    write("parts/retrieve.json", inner(...retrieve, { ...again, document: "./twice.json" }));
    const files = open(
      "chain.json",
      outer(use("parts/retrieve.json"), { stage: "answer", ...stage }),
      functions,
    );
    const inlined = chainFromDocument(
      model,
      outer(
        {
          use: "sub",
          inputs: { text: "question" },
          steps: [{ input: "text" }, ...retrieve, { ...again, steps: [{ input: "text" }, ...twice] }],
        },
        { stage: "answer", ...stage },
      ),
      { functions },
    );
    expect(String(await files.explain({ question }))).toBe(String(await inlined.explain({ question })));
    const [ours, wanted] = [await files.run({ question }).result, await inlined.run({ question }).result];
    expect(withoutUsage(ours)).toBe(withoutUsage(wanted));
    const rows = (result: typeof ours) => [
      result.answer?.usage.rowsComputed,
      result.answer?.usage.rowsReused,
    ];
    expect(rows(ours)).toEqual(rows(wanted));
    expect(ours).toMatchObject({ sub: { query: {}, twice: { second: {} } } });
  });

  test("may use the same file at several places", async () => {
    write("inner.json", inner({ stage: "vote", ...stage }));
    const chain = open("chain.json", outer(use("inner.json"), { ...use("./inner.json"), use: "more" }));
    const result = await chain.run({ question }).result;
    expect(result).toMatchObject({ sub: { vote: {} }, more: { vote: {} } });
  });

  test("finds prompts beside the file that names them", async () => {
    write("parts/inner.json", inner({ stage: "vote", prompt: "prompts/none" }));
    const chain = open("chain.json", outer(use("parts/inner.json")));
    await expect(chain.run({ question }).result).rejects.toMatchObject({
      message: expect.stringContaining(at("parts/prompts/none")),
    });
  });

  test("sees nothing of the chain around it", () => {
    write("inner.json", inner({ stage: "vote", reads: ["question"], ...stage }));
    const error = refused("chain.json", outer(use("inner.json")));
    expect(error.code).toBe("CHAIN_INVALID");
    expect(error.message).toMatch(/"question"/);
    expect(error.facts.files).toEqual([at("chain.json"), at("inner.json")]);
  });
});

describe("a mistake names the files that lead to it", () => {
  const expectRefused = (error: BatonError, code: string, files: string[], says: RegExp) => {
    expect(error.code).toBe(code);
    expect(error.facts.files).toEqual(files.map(at));
    expect(error.message).toContain(files.map(at).join(" -> "));
    expect(error.message).toMatch(says);
  };

  test("a file that uses itself", () => {
    const error = refused("a.json", outer(use("a.json")));
    expectRefused(
      error,
      "CHAIN_INVALID",
      ["a.json", "a.json"],
      /steps\[1\]\.document leads around in a circle/,
    );
  });

  test("two files that use each other, by another name of the same file too", () => {
    write("b.json", inner({ ...use("a.json"), inputs: { text: "text" } }));
    expectRefused(
      refused("a.json", outer(use("b.json"))),
      "CHAIN_INVALID",
      ["a.json", "b.json", "a.json"],
      /circle/,
    );
    symlinkSync(at("a.json"), at("link.json"));
    write("b.json", inner({ ...use("link.json"), inputs: { text: "text" } }));
    expectRefused(
      refused("a.json", outer(use("b.json"))),
      "CHAIN_INVALID",
      ["a.json", "b.json", "a.json"],
      /circle/,
    );
  });

  test("a circle is found though the outermost document is in no file", () => {
    write("b.json", inner({ ...use("b.json"), inputs: { text: "text" } }));
    expect(() => chainFromDocument(model, outer(use("b.json")), { directory: folder })).toThrowError(
      /circle/,
    );
  });

  test("a file that is not there, directly and through another", () => {
    const direct = refused("a.json", outer(use("none.json")));
    expect(direct).toMatchObject({ code: "IO", facts: { path: "steps[1].document" } });
    expect(direct.message).toContain(`${at("none.json")} (from ${at("a.json")})`);
    write("b.json", inner({ ...use("none.json"), inputs: { text: "text" } }));
    const through = refused("a.json", outer(use("b.json")));
    expect(through.message).toContain(`${at("none.json")} (from ${at("a.json")} -> ${at("b.json")})`);
    expect(through.facts.files).toEqual(["a.json", "b.json", "none.json"].map(at));
    mkdirSync(at("folder"));
    expect(refused("a.json", outer(use("folder"))).code).toBe("IO");
  });

  test("files in files beyond the depth, and too many of them", () => {
    for (let level = 1; level <= 20; level++) {
      write(`${level}.json`, inner({ ...use(`${level + 1}.json`), inputs: { text: "text" } }));
    }
    write("21.json", inner({ stage: "end", ...stage }));
    const files = ["a.json", ...Array.from({ length: 17 }, (_, level) => `${level + 1}.json`)];
    expectRefused(refused("a.json", outer(use("1.json"))), "CHAIN_INVALID", files, /inside of 17 blocks/);

    const both = (name: string) =>
      ["x", "y"].map((one) => ({ use: one, inputs: { text: "text" }, document: name }));
    for (let level = 1; level <= 10; level++) write(`${level}.json`, inner(...both(`${level + 1}.json`)));
    write("11.json", inner({ stage: "end", ...stage }));
    expect(refused("a.json", outer(use("1.json"))).message).toMatch(/257th document.*At most 256/);
  });

  const wrong: [string, unknown, RegExp][] = [
    ["is no JSON", "{", /is not JSON/],
    ["is no document", [], /The document is \[\], which must be object/],
    ["has an unknown field", { ...inner({ stage: "a" }), stages: [] }, /unknown field "stages"/],
    [
      "has an unknown field in a step",
      inner({ stage: "a", maxToken: 1 }),
      /steps\[1\] has an unknown field "maxToken"/,
    ],
    ["has an option out of range", inner({ stage: "a", temperature: -1 }), /temperature/],
    ["has another layout", { ...inner({ stage: "a" }), layout: "concatenated" }, /layout is "concatenated"/],
    ["names no function that was given", inner({ input: "b", from: "none" }), /"none", which is not among/],
  ];
  test.each(wrong)("a file that %s", (_what, value, says) => {
    write("b.json", value);
    const error = refused("a.json", outer(use("b.json")));
    expect(["CHAIN_INVALID", "OPTION_INVALID"]).toContain(error.code);
    expect(error.message).toMatch(says);
    expect(error.message).toContain(at("b.json"));
  });

  const steps = [{ input: "text" }, { stage: "vote", ...stage }];
  test.each([
    ["steps and document", { ...use("b.json"), steps }, /must match exactly one schema/],
    ["neither", { use: "sub", inputs: {} }, /exactly one|required property/],
    ["a document that is no text", { ...use("b.json"), document: 7 }, /must be string/],
    ["an unknown field", { ...use("b.json"), file: "b.json" }, /unknown field "file".*document/],
  ])("a `use` with %s", (_what, step, says) => {
    write("b.json", inner({ stage: "vote", ...stage }));
    const error = refused("a.json", outer(step));
    expect(error.code).toBe("CHAIN_INVALID");
    expect(error.message).toMatch(says);
  });

  test("inputs that the other document does not have, or has and are not given", () => {
    write("b.json", inner({ stage: "vote", ...stage }));
    const step = (inputs: object) => outer({ use: "sub", inputs, document: "b.json" });
    expect(refused("a.json", step({ texts: "question" })).message).toMatch(/"texts" is not an input/);
    expect(refused("a.json", step({})).message).toMatch(/Input "text" is missing/);
  });
});

test("whoever opens a document hears of every file, also of one that is not there", () => {
  write("sub.json", inner({ stage: "answer", ...stage }));
  const value = outer(use("sub.json"));
  write("outer.json", value);
  const files: string[] = [];
  const options = { file: at("outer.json"), onFile: (file: string) => files.push(file) };
  chainFromDocument(model, value, options);
  expect(files).toEqual([at("outer.json"), at("sub.json")]);
  rmSync(at("sub.json"));
  expect(() => chainFromDocument(model, value, options)).toThrow("cannot be read");
  expect(files.at(-1)).toBe(at("sub.json"));
});
