// SPDX-License-Identifier: Apache-2.0
// `baton tune` on the small model: wrong calls, bad data, what --explain says, and a whole run with its files.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runProgram } from "../../src/cli/program.js";
import { trainOptionNames } from "../../src/tune/settings.js";
import { tinyPath } from "../chain/tiny-model.js";

let directory = "";
const records = [
  {
    question: "How long?",
    passages: "The harbour freezes for eleven weeks.",
    compress: "eleven weeks",
    answer: "eleven",
  },
  {
    question: "Who built it?",
    passages: "Ada Lindqvist built the lighthouse.",
    compress: "Ada built it",
    answer: "Ada",
  },
  { question: "When?", passages: "It was built in 1871 on Ferry Rock.", compress: "in 1871", answer: "1871" },
];
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "baton-tune-"));
  writeFileSync(
    join(directory, "chain.mjs"),
    `export default {
      model: ${JSON.stringify(tinyPath)},
      options: { threads: 1, cacheBytes: 16 << 20, batchInvariant: true },
      chain: (model, { defineChain }) => defineChain(model)
        .input("question").input("passages")
        .stage("compress", { prompt: { text: "Shorten." }, own: ["passages"], maxTokens: 4, closers: ["<|endoftext|>"] })
        .stage("answer", { maxTokens: 4, closers: ["<|endoftext|>"] }),
    };\n`,
  );
  const lines = (all: object[]) => all.map((one) => `${JSON.stringify(one)}\n`).join("");
  writeFileSync(join(directory, "train.jsonl"), lines(records));
  writeFileSync(
    join(directory, "bad.jsonl"),
    lines([records[0] as object, { question: "Who?", passages: "x" }]),
  );
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

async function baton(args: string[], signal = new AbortController().signal): Promise<Outcome> {
  const out: string[] = [];
  const err: string[] = [];
  const code = await runProgram(args, {
    terminal: { stdout: { write: (text) => out.push(text) }, stderr: { write: (text) => err.push(text) } },
    signal,
    directory,
    stdin: Readable.from([""]),
  });
  return { code, stdout: out.join(""), stderr: err.join("") };
}

const call = ["tune", "chain.mjs", "--stage", "answer", "--data", "train.jsonl"];

describe("a wrong call", () => {
  test.each<[string[], RegExp]>([
    [["tune", "chain.mjs", "--data", "train.jsonl"], /required option '-s, --stage <name>'/],
    [["tune", "chain.mjs", "--stage", "answer"], /required option '-d, --data <file>'/],
    [call, /--output is missing/],
    [[...call, "-o", "x", "--epochs", "many"], /"many" is not a number/],
    [[...call, "-o", "x", "--betas", "0.9"], /not of the form 0\.9,0\.999/],
    [[...call, "-o", "x", "--field", "query"], /not of the form data=chain/],
    [[...call, "-o", "x", "--init", "random", "--init", "vocabulary"], /--init is given twice/],
    [[...call, "-o", "x", "--schedule", "stepwise"], /Allowed choices are linear, cosine, constant/],
    [[...call, "-o", "x", "--score", "bleu"], /Allowed choices are squad/],
    [[...call, "-o", "x", "--prompt", "compress"], /not of the form stage=folder or stage=text:/],
    [[...call, "-o", "x", "-p", "compress=a", "-p", "compress=b"], /--prompt compress is given twice/],
    [[...call, "-o", "x", "--score-from", "air"], /Allowed choices are chain, gold/],
  ])("%j ends with code 2 before anything is loaded", async (args, says) => {
    const { code, stdout, stderr } = await baton(args);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(says);
  });

  test("what only tune() can know ends with code 1 and the error's code", async () => {
    const cases: [string[], RegExp][] = [
      [["--epochs", "0"], /`epochs`.*\[OPTION_INVALID\]/],
      [["--patience", "2"], /`patience`.*`dev`.*\[OPTION_INVALID\]/s],
      [["--virtual-tokens", "100000"], /`virtualTokens` 100000.*\[OPTION_INVALID\]/],
      [["--data", "bad.jsonl"], /bad\.jsonl:2.*\[DATA_INVALID\]/],
      [["--data", "nowhere.jsonl"], /nowhere\.jsonl.*\[IO\]/],
      [["--stage", "anwser"], /"anwser".*\[OPTION_INVALID\]/],
      [["-o", "chain.mjs"], /No prompt can be written into .*chain\.mjs.*`output`.*\[IO\]/],
      [["--prompt", "compres=text:Shorten."], /no stage "compres".*\[CHAIN_INVALID\]/],
      [["--prompt", "compress=nowhere"], /nowhere does not exist.*\[PROMPT_INVALID\]/],
      [["--frozen-disk-bytes", "-1"], /`frozenDiskBytes` is -1.*\[OPTION_INVALID\]/],
    ];
    for (const [args, says] of cases) {
      const { code, stderr } = await baton([...call, "-o", "out", ...args]);
      expect(stderr).toMatch(says);
      expect(code).toBe(1);
    }
  });
});

const flagOf = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

test("--help names every option of tune()", async () => {
  const { code, stdout } = await baton(["tune", "--help"]);
  expect(code).toBe(0);
  // by other names: stages, labels, fields; of programs alone: signal and callbacks
  const others = [
    "stage",
    "label",
    "field",
    "data",
    "dev",
    "output",
    "init",
    "virtualTokens",
    "score",
    "scoreFrom",
  ];
  const bytes = ["frozenBytes", "frozenFolder", "frozenDiskBytes", "activationBytes", "baseModel", "prompt"];
  for (const name of [...others, ...bytes, ...trainOptionNames, "explain", "json"]) {
    expect(stdout).toMatch(new RegExp(`--(no-)?${flagOf(name)}\\b`));
  }
});

test("options of the call reach tune(): wrong values are refused under tune()'s names", async () => {
  const others = ["shuffle", "keep", "checkpoint", "resume", "schedule", "betas"]; // take no numbers
  const numbers = trainOptionNames.filter((name) => !others.includes(name));
  expect(numbers.length).toBeGreaterThan(10);
  const bytes = ["frozenBytes", "frozenDiskBytes", "activationBytes"];
  const given = [...numbers, ...bytes].map((name) => [name, "-1"] as const);
  for (const [name, value] of [...given, ["betas", "0.9,2"] as const]) {
    const { stderr } = await baton([...call, "-o", "out", `--${flagOf(name)}=${value}`]);
    expect(stderr).toMatch(new RegExp(`\`${name}\`.*\\[OPTION_INVALID\\]`));
  }
});

test("--explain says what would be computed, as a table or as JSON, and trains nothing", async () => {
  const plain = await baton([...call, "--explain", "--virtual-tokens", "5"]);
  expect(plain.code).toBe(0);
  expect(plain.stdout).toContain("3 items, 8 a step");
  expect(plain.stdout).toMatch(/trained {2}prompt of answer +5 +once a step/);
  const json = await baton([...call, "--explain", "--json", "--batch-size", "2", "--accumulation", "2"]);
  expect(JSON.parse(json.stdout)).toMatchObject({
    items: 3,
    batchSize: 4,
    parameters: [{ stage: "answer", rows: 50 }],
  });
});

describe("a run", () => {
  const small = ["--virtual-tokens", "4", "--batch-size", "2", "--epochs", "3"];

  test("leaves prompt, curves, steps and checkpoint in the output folder, and prints their paths", async () => {
    const args = [...call, "-o", "prompts/answer", "--dev", "train.jsonl", "--score", "squad", ...small];
    const { code, stdout, stderr } = await baton(args);
    expect(stderr).toMatch(/^dev loss [\d.]+, exactMatch [\d.]+, f1 [\d.]+ before the first step$/m);
    expect(stderr).toMatch(/^step 6\/6 {2}epoch 3\.00 {2}loss /m);
    expect(stderr.match(/^dev data 3\/3\nscored 3\/3$/gm)).toHaveLength(4);
    expect(stderr).toMatch(/^kept: dev loss .*(; dev loss .* )?before the first step$/m);
    expect(stderr.trimEnd().split("\n").at(-1)).toBe(
      "to run with it: baton run chain.mjs --prompt answer=prompts/answer --input ...",
    );
    expect(code).toBe(0);
    const folder = join(directory, "prompts/answer");
    expect(stdout).toBe(`${folder}\n${join(folder, "curves.svg")}\n${join(folder, "steps.jsonl")}\n`);
    expect(readdirSync(folder).sort()).toEqual([
      "adapter_config.json",
      "adapter_model.safetensors",
      "baton_contract.json",
      "checkpoint.safetensors",
      "curves.svg",
      "steps.jsonl",
    ]);
    const lines = readFileSync(join(folder, "steps.jsonl"), "utf8").trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line).type).filter((type) => type === "step")).toHaveLength(6);
    expect(lines).toHaveLength(10);
    // resumed there is nothing left to do
    const again = await baton([...args, "--resume", "--json"]);
    expect(again.code).toBe(0);
    expect(JSON.parse(again.stdout)).toMatchObject({
      prompts: { answer: folder },
      resumedFrom: 6,
      stopped: "end",
    });
  });

  test("trains two stages with their own beginnings, fields renamed", async () => {
    writeFileSync(
      join(directory, "renamed.jsonl"),
      records.map(({ question, ...rest }) => `${JSON.stringify({ query: question, ...rest })}\n`).join(""),
    );
    const args = [
      "tune",
      "chain.mjs",
      "-s",
      "compress",
      "-s",
      "answer",
      "-d",
      "renamed.jsonl",
      "-o",
      "both",
      ...small,
    ];
    const init = ["--init", "vocabulary", "--init", "answer=text:Answer it."];
    const { code, stderr } = await baton([...args, ...init, "--field", "query=question", "--no-checkpoint"]);
    expect(stderr).toContain("step 6/6");
    expect(code).toBe(0);
    expect(readdirSync(join(directory, "both")).sort()).toEqual([
      "answer",
      "compress",
      "curves.svg",
      "steps.jsonl",
    ]);
    const config = JSON.parse(readFileSync(join(directory, "both/answer/adapter_config.json"), "utf8"));
    expect(config).toMatchObject({ prompt_tuning_init: "TEXT", prompt_tuning_init_text: "Answer it." });
  });

  test("tunes a stage beside a prompt that is given, and names both for the next call", async () => {
    const beside = ["--prompt", "compress=text:Be brief, please."];
    const args = [...call, "-o", "beside", ...small, "--epochs", "1", ...beside];
    const { code, stderr } = await baton(args);
    expect(code).toBe(0);
    expect(stderr).toContain(
      "baton run chain.mjs --prompt 'compress=text:Be brief, please.' --prompt answer=beside --input ...",
    );
    const plain = await baton([...call, "-o", "plain", ...small, "--epochs", "1"]);
    expect(plain.code).toBe(0);
    const writerOf = (folder: string) =>
      JSON.parse(readFileSync(join(directory, folder, "baton_contract.json"), "utf8")).reads.at(-1).prompt;
    expect(writerOf("beside")).toMatch(/^[0-9a-f]{64}$/);
    expect(writerOf("beside")).not.toBe(writerOf("plain"));
    const inputs = ["-i", "question=How long?", "-i", "passages=The harbour freezes."];
    const run = (...prompts: string[]) => baton(["run", "chain.mjs", ...inputs, "--json", ...prompts]);
    const under = await run(...beside, "-p", "answer=beside");
    expect(under.code).toBe(0);
    const warned = await run("--prompt", "answer=beside", "--prompt", "compress=text:Another.");
    expect(warned.code).toBe(0);
    const rows = (outcome: Outcome) => JSON.parse(outcome.stdout).answer.usage.rowsReused;
    expect(rows(under)).toBeGreaterThan(0);
    expect(rows(warned)).toBeGreaterThan(0);
  });

  test("makes the prompts that a document names, one stage after the other, where there are none yet", async () => {
    const document = {
      model: tinyPath,
      options: { threads: 1, cacheBytes: 16 << 20, batchInvariant: true },
      steps: [
        { input: "question" },
        { input: "passages" },
        {
          stage: "compress",
          prompt: "made/compress",
          own: ["passages"],
          maxTokens: 4,
          closers: ["<|endoftext|>"],
        },
        { stage: "answer", prompt: "made/answer", maxTokens: 4, closers: ["<|endoftext|>"] },
      ],
    };
    writeFileSync(join(directory, "made.json"), JSON.stringify(document));
    const made = (stage: string, ...rest: string[]) =>
      baton([
        "tune",
        "made.json",
        "-s",
        stage,
        "-d",
        "train.jsonl",
        "-o",
        `made/${stage}`,
        ...small,
        ...rest,
      ]);
    const without = await made("compress");
    expect(without.code).toBe(1);
    expect(without.stderr).toMatch(
      /made\/compress does not exist.*say in `init` \(--init\).*\[PROMPT_INVALID\]/,
    );
    const begin = ["--init", "text:Quote it."];
    // the whole chain cannot write anything before all of its prompts are there
    const scores = ["--dev", "train.jsonl", "--score", "squad"];
    const scored = await made("compress", ...begin, ...scores);
    expect(scored.stderr).toMatch(/made\/answer does not exist.*behind gold texts.*\[PROMPT_INVALID\]/);
    expect((await made("compress", ...begin, ...scores, "--score-from", "gold")).code).toBe(0);
    expect((await made("answer", ...begin, ...scores)).code).toBe(0);
    const run = await baton([
      "run",
      "made.json",
      "-i",
      "question=Who?",
      "-i",
      "passages=Ada built it.",
      "--json",
    ]);
    expect([run.code, run.stderr]).toEqual([0, ""]); // no warning: each was trained beside the other
  });

  test("keeps frozen rows in the folder that is named, and in none with --no-frozen-disk", async () => {
    const files = () => readdirSync(join(directory, "frozen")).length;
    const args = [...call, "-o", "kept", ...small, "--epochs", "1", "--no-checkpoint"];
    expect((await baton([...args, "--frozen-folder", "frozen"])).code).toBe(0);
    expect(files()).toBe(2 * records.length); // of each record question and compress
    rmSync(join(directory, "frozen"), { recursive: true });
    const none = await baton([...args, "--frozen-folder", "frozen", "--no-frozen-disk"]);
    expect(none.code).toBe(0);
    expect(readdirSync(directory)).not.toContain("frozen");
  });

  test("that is interrupted ends with 130 and says where to go on", async () => {
    const controller = new AbortController();
    const err: string[] = [];
    const write = (text: string) => {
      err.push(text);
      if (text.startsWith("step 1/")) controller.abort();
    };
    const code = await runProgram([...call, "-o", "cut", ...small, "--epochs", "200"], {
      terminal: { stdout: { write() {} }, stderr: { write } },
      signal: controller.signal,
      directory,
      stdin: Readable.from([""]),
    });
    expect(code).toBe(130);
    expect(err.join("")).toContain(
      `kept in ${join(directory, "cut", "checkpoint.safetensors")}; --resume goes on`,
    );
    const again = await baton([...call, "-o", "cut", ...small]);
    expect(again.stderr).toMatch(/has not ended.*\[CHECKPOINT_INVALID\]/);
    // its prompt is to be had without going on
    const taken = await baton(["export", "cut/checkpoint.safetensors", "-o", "taken"]);
    expect(taken.stderr).toMatch(
      /^kept: after step \d+\nto run with it: baton run CHAIN --prompt answer=taken /,
    );
    const paths = ["", "curves.svg", "steps.jsonl"].map((name) => join(directory, "taken", name));
    expect(
      taken.stdout
        .trimEnd()
        .split("\n")
        .map((path) => join(path)),
    ).toEqual([join(directory, "taken"), ...paths.slice(1)]);
    expect(readdirSync(join(directory, "taken")).sort()).toEqual([
      "adapter_config.json",
      "adapter_model.safetensors",
      "baton_contract.json",
      "curves.svg",
      "steps.jsonl",
    ]);
    const inputs = ["-i", "question=How long?", "-i", "passages=The harbour freezes."];
    const used = await baton(["run", "chain.mjs", ...inputs, "--json", "--prompt", "answer=taken"]);
    expect([used.code, used.stderr]).toEqual([0, ""]);

    expect((await baton([...call, "-o", "cut", ...small, "--resume"])).code).toBe(0);
    const ended = await baton([
      "export",
      "cut/checkpoint.safetensors",
      "-o",
      "again",
      "--keep",
      "last",
      "--json",
    ]);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      prompts: { answer: join(directory, "again") },
      finished: true,
    });
    const rowsIn = (folder: string) => readFileSync(join(directory, folder, "adapter_model.safetensors"));
    expect(rowsIn("again").equals(rowsIn("cut"))).toBe(true);
  });

  test("export says what is wrong with a call and with a checkpoint", async () => {
    const cases: [string[], number, RegExp][] = [
      [["export", "-o", "y"], 2, /missing required argument 'checkpoint'/],
      [["export", "x"], 2, /required option '-o, --output <folder>'/],
      [["export", "x", "-o", "y", "--keep", "worst"], 2, /Allowed choices are best, last/],
      [["export", "nowhere", "-o", "y"], 1, /There is no checkpoint .*nowhere.*\[IO\]/],
      [["export", "train.jsonl", "-o", "y"], 1, /train\.jsonl is damaged.*\[CHECKPOINT_INVALID\]/],
    ];
    for (const [args, code, says] of cases) {
      const outcome = await baton(args);
      expect(outcome.stderr).toMatch(says);
      expect(outcome.code).toBe(code);
    }
    expect(readdirSync(directory)).not.toContain("y");
  });
});
