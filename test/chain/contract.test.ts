// SPDX-License-Identifier: Apache-2.0
// A prompt that was trained under one contract and is used under another: the difference is named, the run goes on.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { contractOfUse } from "../../src/chain/contract.js";
import { planChain } from "../../src/chain/plan.js";
import { stepKinds } from "../../src/chain/steps/index.js";
import type { Model } from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import type { PromptContract } from "../../src/model/prompt.js";
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
