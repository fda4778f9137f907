// SPDX-License-Identifier: Apache-2.0
// `baton run`, `baton explain` and `baton inspect` on the small model: what is streamed, what is JSON, what is refused.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runProgram } from "../../src/cli/program.js";
import { tinyPath } from "../chain/tiny-model.js";

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "baton-run-"));
  writeFileSync(join(directory, "passages.txt"), "The harbour of Marsk freezes for eleven weeks a year.");
  writeFileSync(
    join(directory, "chain.mjs"),
    `export default {
      model: ${JSON.stringify(tinyPath)},
      options: { threads: 1, cacheBytes: 8 << 20, batchInvariant: true },
      chain: (model, { defineChain }) => defineChain(model)
        .input("question").input("passages")
        .stage("compress", { prompt: { text: "Shorten." }, own: ["passages"], maxTokens: 6, closers: ["<|endoftext|>"] })
        .stage("answer", { maxTokens: 6, closers: ["<|endoftext|>"] }),
    };\n`,
  );
  writeFileSync(
    join(directory, "groups.mjs"),
    `const stage = { maxTokens: 6, closers: ["<|endoftext|>"] };
    export default {
      model: ${JSON.stringify(tinyPath)},
      options: { threads: 1, cacheBytes: 8 << 20, batchInvariant: true },
      chain: (model, { defineChain }) => defineChain(model)
        .input("question")
        .fanOut("votes", { samples: 3 }, (branch) => branch.stage("vote", stage))
        .rounds("turns", (round) => round.stage("turn", stage), { max: 2 })
        .when("never", () => false, (inside) => inside.stage("unseen", stage)),
    };\n`,
  );
  const steps = [
    { input: "question" },
    { input: "passages", from: "retrieve" },
    {
      stage: "compress",
      prompt: { text: "Shorten." },
      own: ["passages"],
      maxTokens: 6,
      closers: ["<|endoftext|>"],
    },
    { stage: "answer", maxTokens: 6, closers: ["<|endoftext|>"] },
  ];
  const options = { threads: 1, cacheBytes: 8 << 20, batchInvariant: true };
  writeFileSync(join(directory, "chain.json"), JSON.stringify({ model: tinyPath, options, steps }));
  const elsewhere = { ...options, device: "cuda:9999" };
  writeFileSync(
    join(directory, "elsewhere.json"),
    JSON.stringify({ model: tinyPath, options: elsewhere, steps }),
  );
  writeFileSync(
    join(directory, "functions.mjs"),
    `export const retrieve = () => "The harbour of Marsk freezes for eleven weeks a year.";\n`,
  );
  writeFileSync(join(directory, "broken.json"), '{ "model": ');
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function baton(args: string[], stdin = "") {
  const out: string[] = [];
  const err: string[] = [];
  const code = await runProgram(args, {
    terminal: { stdout: { write: (text) => out.push(text) }, stderr: { write: (text) => err.push(text) } },
    signal: new AbortController().signal,
    directory,
    stdin: Readable.from([stdin]),
  });
  return { code, stdout: out.join(""), stderr: err.join("") };
}

const inputs = ["-i", "question=How long?", "-i", "passages=@passages.txt"];

describe("run", () => {
  test("--json gives texts, reasons and usage; the same run streamed gives the same texts", async () => {
    const json = await baton(["run", "chain.mjs", ...inputs, "--json"]);
    expect(json).toMatchObject({ code: 0, stderr: "" });
    const { compress, answer } = JSON.parse(json.stdout);
    expect(compress).toMatchObject({ reason: "length", usage: { tokens: 6 } });
    expect(answer.usage.rowsReused).toBeGreaterThan(0);
    const streamed = await baton(["run", "chain.mjs", ...inputs]);
    expect(streamed.code).toBe(0);
    expect(streamed.stdout).toBe(`[compress]\n${compress.text}\n[answer]\n${answer.text}\n`);
    expect(streamed.stderr).toMatch(/^stage +computed +reused/m);
    const piped = await baton(
      ["run", "chain.mjs", "-i", "question=How long?", "-i", "passages=@-", "--json"],
      "Once.",
    );
    expect(JSON.parse(piped.stdout).compress.usage.rowsComputed).toBeLessThan(compress.usage.rowsComputed);
  });

  test("--cache-folder keeps for the next run what this one has computed", async () => {
    const args = ["run", "chain.mjs", ...inputs, "--json", "--cache-folder", "kept"];
    const [first, second] = [await baton(args), await baton(args)];
    expect(second).toMatchObject({ code: 0, stderr: "" });
    const [cold, warm] = [JSON.parse(first.stdout), JSON.parse(second.stdout)];
    expect([warm.compress.text, warm.answer.text]).toEqual([cold.compress.text, cold.answer.text]);
    expect(warm.compress.usage.rowsComputed).toBeLessThan(cold.compress.usage.rowsComputed);
    expect(warm.compress.usage.rowsReused).toBeGreaterThan(cold.compress.usage.rowsReused);
  });

  test("--device is taken instead of the chain's own, and refused as loadModel refuses it", async () => {
    const args = ["elsewhere.json", "--functions", "functions.mjs", "-i", "question=How long?"];
    const own = await baton(["run", ...args]);
    expect(own).toMatchObject({ code: 1, stdout: "" });
    expect(own.stderr).toMatch(/\[DEVICE_UNAVAILABLE\]\n$/);
    for (const command of ["run", "explain"]) {
      expect(await baton([command, ...args, "--device", "cpu"])).toMatchObject({ code: 0 });
      const wrong = await baton([command, ...args, "--device", "gpu"]);
      expect(wrong).toMatchObject({ code: 1, stdout: "" });
      expect(wrong.stderr).toMatch(/"auto", "cpu", "cuda" or one like "cuda:1".*\[OPTION_INVALID\]\n$/);
    }
  });

  test("stages in groups are streamed and counted under their names, those of branches by turns", async () => {
    const args = ["run", "groups.mjs", "-i", "question=How long?"];
    const { votes, turns } = JSON.parse((await baton([...args, "--json"])).stdout);
    expect([votes.length, turns.rounds.length, turns.stopped]).toEqual([3, 2, "max"]);
    const { code, stdout, stderr } = await baton(args);
    expect(code).toBe(0);
    const names = ["votes[0].vote", "votes[1].vote", "votes[2].vote", "turns[0].turn", "turns[1].turn"];
    const texts = new Map<string, string>();
    for (const part of stdout.split(/^(?=\[(?:votes|turns)\[)/m)) {
      const end = part.indexOf("]\n");
      const name = part.slice(1, end);
      texts.set(name, (texts.get(name) ?? "") + part.slice(end + 2, -1));
    }
    expect([...texts.keys()].sort()).toEqual([...names].sort());
    expect(names.slice(0, 3).map((name) => texts.get(name))).toEqual(
      votes.map((one: { vote: { text: string } }) => one.vote.text),
    );
    expect(texts.get("turns[1].turn")).toBe(turns.rounds[1].turn.text);
    for (const name of names)
      expect(stderr).toMatch(new RegExp(`^${name.replace(/[[\].]/g, "\\$&")} +\\d+ rows`, "m"));
    expect(stdout + stderr).not.toContain("unseen");
  });

  test("a document with its functions gives what the module gives", async () => {
    const args = ["-i", "question=How long?", "--json"];
    const ours = await baton(["run", "chain.json", "--functions", "functions.mjs", ...args]);
    const wanted = JSON.parse((await baton(["run", "chain.mjs", ...inputs, "--json"])).stdout);
    expect(ours).toMatchObject({ code: 0, stderr: "" });
    for (const stage of ["compress", "answer"]) {
      expect(JSON.parse(ours.stdout)[stage].tokens).toEqual(wanted[stage].tokens);
    }
  });

  test("a document that uses another file gives what that file gives, from any working directory", async () => {
    const used = { use: "sub", inputs: { question: "question" }, document: "../chain.json" };
    mkdirSync(join(directory, "around"), { recursive: true });
    const steps = [{ input: "question" }, used];
    const options = { threads: 1, cacheBytes: 8 << 20, batchInvariant: true };
    writeFileSync(join(directory, "around/outer.json"), JSON.stringify({ model: tinyPath, options, steps }));
    const args = ["--functions", "functions.mjs", "-i", "question=How long?", "--json"];
    const outer = await baton(["run", "around/outer.json", ...args]);
    expect(outer).toMatchObject({ code: 0, stderr: "" });
    const wanted = JSON.parse((await baton(["run", "chain.json", ...args])).stdout);
    for (const stage of ["compress", "answer"]) {
      expect(JSON.parse(outer.stdout).sub[stage].tokens).toEqual(wanted[stage].tokens);
    }
    writeFileSync(
      join(directory, "around/outer.json"),
      JSON.stringify({ model: tinyPath, steps: [{ ...used, document: "outer.json", inputs: {} }] }),
    );
    const circle = await baton(["run", "around/outer.json", "--json"]);
    expect(circle).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/circle: .*outer\.json -> .*outer\.json/),
    });
  });

  test("a document that is no JSON, one without its functions, and functions for a module are refused", async () => {
    const broken = await baton(["run", "broken.json"]);
    expect(broken).toMatchObject({ code: 1, stderr: expect.stringMatching(/broken\.json is not JSON: /) });
    const without = await baton(["run", "chain.json", "-i", "question=How long?"]);
    expect(without).toMatchObject({ code: 1, stderr: expect.stringMatching(/"retrieve".*--functions/) });
    expect((await baton(["run", "chain.mjs", "--functions", "functions.mjs"])).code).toBe(2);
    expect((await baton(["run", "chain.json", "--functions", "none.mjs"])).code).toBe(2);
  });

  test("a missing input is a failure that names it", async () => {
    const { code, stderr } = await baton(["run", "chain.mjs", "-i", "question=How long?"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^baton: Input "passages" is missing\..*\[CHAIN_INVALID\]$/m);
  });
});

describe("explain", () => {
  test("prints the table, or JSON, without running; inputs may be missing", async () => {
    const text = await baton(["explain", "chain.mjs", ...inputs]);
    expect(text.code).toBe(0);
    expect(text.stdout).toMatch(/^layout: contiguous\nsegment +kind/);
    const { layout, segments } = JSON.parse((await baton(["explain", "chain.mjs", "--json"])).stdout);
    expect(layout).toBe("contiguous");
    expect(segments.map((one: { segment: string }) => one.segment)).toEqual([
      "question",
      "prompt of compress",
      "passages",
      "compress",
      "answer",
    ]);
  });

  test("prints a picture, or writes it to a file", async () => {
    expect((await baton(["explain", "chain.mjs", "--as", "mermaid"])).stdout).toMatch(/^flowchart LR\n/);
    const written = await baton(["explain", "chain.mjs", ...inputs, "--as", "svg", "-o", "mask.svg"]);
    expect(written).toMatchObject({ code: 0, stdout: "" });
    expect(readFileSync(join(directory, "mask.svg"), "utf8")).toMatch(/^<svg [\s\S]*<\/svg>\n$/);
  });

  test("another picture is a wrong call; a place that cannot be written a failure that names it", async () => {
    expect((await baton(["explain", "chain.mjs", "--as", "png"])).code).toBe(2);
    const { code, stderr } = await baton(["explain", "chain.mjs", "-o", "missing/mask.svg"]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/missing\/mask\.svg.*\[IO\]/);
  });
});

describe("inspect", () => {
  test("says what the header says", async () => {
    const json = await baton(["inspect", tinyPath, "--json"]);
    expect(json.code).toBe(0);
    const found = JSON.parse(json.stdout);
    expect(found).toMatchObject({ path: tinyPath, format: "gguf", version: 3 });
    expect(found.metadata["general.architecture"]).toBe("llama");
    const text = await baton(["inspect", tinyPath, "--tensors"]);
    expect(text.stdout).toMatch(/gguf version 3/);
    for (const { name } of found.tensors) expect(text.stdout).toContain(name);
  });

  test("refuses what is no model file", async () => {
    const { code, stdout, stderr } = await baton(["inspect", join(directory, "passages.txt")]);
    expect(code).toBe(1);
    expect(stdout).toBe("");
    expect(stderr).toMatch(/\[(MODEL_FORMAT|SOURCE_FAILED|OPTION_INVALID)\]\n$/);
  });
});
