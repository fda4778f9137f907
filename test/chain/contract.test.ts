// SPDX-License-Identifier: Apache-2.0
// A prompt that was trained under one contract and is used under another: the difference is named, the run goes on.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { contractOfUse } from "../../src/chain/contract.js";
import { sitesOf } from "../../src/chain/names.js";
import { planChain } from "../../src/chain/plan.js";
import { stepKinds } from "../../src/chain/steps/index.js";
import type { Chain, ChainRun, Model, PromptSource } from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import type { PromptContract } from "../../src/model/prompt.js";
import { resolvePrompt } from "../../src/model/prompt.js";
import { loadTiny, question } from "./tiny-model.js";

let model: Model;
let folder = "";
beforeAll(async () => {
  model = await loadTiny();
  folder = mkdtempSync(join(tmpdir(), "baton-contract-"));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await model.close();
});

/** The contract of `stage("s", { opener: "Answer:" })` that reads `question`, as the chain itself states it. */
function contract(): PromptContract {
  const step = stepKinds.stage("s", { opener: "Answer:" });
  const plan = planChain([stepKinds.input("question", {}), step]);
  const settings = step.settings;
  if (settings === undefined) throw new Error("a stage has settings");
  return contractOfUse({ model, plan, layout: "contiguous", stage: "s", settings, prompts: new Map() });
}

/** A PROMPT_TUNING checkpoint of 3 rows with the contract beside it. */
function writePrompt(name: string, trained: PromptContract): string {
  const { hidden } = model.info;
  const rows = Float32Array.from({ length: 3 * hidden }, (_, i) => Math.sin(i) / 4);
  const tensor = { dtype: "F32", shape: [3, hidden], data_offsets: [0, rows.byteLength] };
  const header = Buffer.from(JSON.stringify({ prompt_embeddings: tensor }));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(header.length));
  const path = mkdtempSync(join(folder, name));
  const config = {
    peft_type: "PROMPT_TUNING",
    num_virtual_tokens: 3,
    token_dim: hidden,
    num_transformer_submodules: 1,
  };
  writeFileSync(join(path, "adapter_config.json"), JSON.stringify(config));
  writeFileSync(
    join(path, "adapter_model.safetensors"),
    Buffer.concat([size, header, Buffer.from(rows.buffer)]),
  );
  writeFileSync(join(path, "baton_contract.json"), JSON.stringify(trained));
  return path;
}

async function warningsOf(prompt: string, opener: string): Promise<string[]> {
  const chain = defineChain(model).input("question").stage("s", { prompt, opener, maxTokens: 1 });
  const warnings: string[] = [];
  const run = chain.run({ question });
  for await (const event of run) if (event.type === "warning") warnings.push(event.message);
  expect((await run.result).s.usage.tokens).toBeLessThanOrEqual(1);
  return warnings;
}

describe("contract of a prompt", () => {
  test("states base, layout, format, opener, lead, closers, reads", () => {
    expect(contract()).toEqual({
      version: 1,
      base: { contentHash: model.info.contentHash, weightType: "Q8_0" },
      layout: "frames",
      format: [null],
      opener: [...model.tokenizer.encode("Answer:", { specials: true })],
      lead: " ",
      closers: [...model.tokenizer.closers],
      reads: [{ kind: "input", alone: false }],
      own: [],
    });
  });

  /** The contract of "s" in these steps, as the trainer states it: on a plan in which nothing is decided. */
  function contractIn(build: (chain: ReturnType<typeof start>) => unknown, site: string): PromptContract {
    const { steps, layout } = (build(start()) as Chain).definition;
    const settings = [...sitesOf(steps)].find((one) => one.site === site)?.step.settings;
    if (settings === undefined) throw new Error(`no stage ${site}`);
    return contractOfUse({
      model,
      plan: planChain(steps),
      layout,
      stage: site,
      settings,
      prompts: new Map(),
    });
  }
  const start = () => defineChain(model).input("question");
  const talk = { max: 3 };
  const input = { kind: "input", alone: false };
  const output = { kind: "output", prompt: null };

  test("in rounds: what the first round reads, and what later ones read besides", () => {
    const inRounds = (options: object) =>
      contractIn(
        (chain) => chain.rounds("talk", (round) => round.stage("s", options).stage("t", options), talk),
        "talk.t",
      );
    expect(inRounds({})).toMatchObject({
      reads: [input, output],
      later: [[input, output, output, output]],
    });
    // reading the same in every round, there is nothing to say
    expect(inRounds({ reads: ["question"] })).not.toHaveProperty("later");
    expect(
      contractIn((chain) => chain.rounds("talk", (round) => round.stage("s"), { max: 1 }), "talk.s"),
    ).not.toHaveProperty("later");
  });

  test("in a fan-out: all branches read alike", () => {
    const stated = contractIn(
      (chain) => chain.stage("a").fanOut("f", { samples: 3 }, (branch) => branch.stage("s")),
      "f.s",
    );
    expect(stated).toMatchObject({ reads: [input, output] });
    expect(stated).not.toHaveProperty("later");
  });

  test("trained in rounds, with its own and a later stage's prompt, and used in them: no warning", async () => {
    const text = { text: "Recall." };
    const stage = { maxTokens: 1, closers: ["<|endoftext|>"] };
    const chain = (prompt: PromptSource) =>
      start().rounds(
        "talk",
        (r) => r.stage("s", { prompt, ...stage }).stage("t", { prompt: text, ...stage }),
        talk,
      );
    const warningsIn = async (run: ChainRun<string, unknown>) => {
      const warnings: string[] = [];
      for await (const event of run) if (event.type === "warning") warnings.push(event.message);
      return warnings;
    };
    const { steps, layout } = chain(text).definition;
    const t = await resolvePrompt(text, { hidden: model.info.hidden, tokenizer: model.tokenizer });
    const settings = [...sitesOf(steps)].find((one) => one.site === "talk.s")?.step.settings;
    if (settings === undefined) throw new Error("no stage");
    // a prompt is known by its rows, so those of "s" are read first
    const rowsOf = writePrompt("rows", contract());
    const s = await resolvePrompt(rowsOf, { hidden: model.info.hidden, tokenizer: model.tokenizer });
    const prompts = new Map([
      ["talk.s", s],
      ["talk.t", t],
    ]);
    const use = { model, plan: planChain(steps), layout, stage: "talk.s", settings, prompts };
    const trained = contractOfUse(use);
    expect(trained.later).toEqual([
      [input, { kind: "output", prompt: s.hash }, { kind: "output", prompt: t.hash }],
    ]);
    const path = writePrompt("rounds", trained);
    expect(await warningsIn(chain(path).run({ question }))).toEqual([]);
    // the same first round, but nothing was trained to read an earlier one
    const { later: _, ...once } = trained;
    const [warning, ...more] = await warningsIn(chain(writePrompt("once", once)).run({ question }));
    expect(more).toEqual([]);
    expect(warning).toMatch(/later\[0\]\[0\]: trained absent, used input; .*later\[0\]\[1\]: trained absent/);
    // and the other way round
    const single = start().stage("s", { prompt: path, ...stage });
    expect((await warningsIn(single.run({ question })))[0]).toMatch(
      /later\[0\]\[0\]: trained input, used absent/,
    );
  });

  test("a contract with malformed later reads is refused by its key", async () => {
    const path = writePrompt("malformed", { ...contract(), later: [7] } as unknown as PromptContract);
    await expect(warningsOf(path, "Answer:")).rejects.toMatchObject({
      code: "PROMPT_INVALID",
      message: expect.stringContaining("later must be a list of lists"),
    });
  });

  test("used as trained: no warning", async () => {
    expect(await warningsOf(writePrompt("same", contract()), "Answer:")).toEqual([]);
  });

  test("used otherwise: one warning that names stage, prompt and each difference", async () => {
    const path = writePrompt("other", { ...contract(), lead: "\n" });
    const [warning, ...more] = await warningsOf(path, "Reply:");
    expect(more).toEqual([]);
    expect(warning).toMatch(/^Stage "s" uses the prompt .*other.* otherwise than it was trained/);
    expect(warning).toMatch(/opener: trained .*, used /);
    expect(warning).toMatch(/lead: trained .*, used /);
  });
});
