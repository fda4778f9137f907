// SPDX-License-Identifier: Apache-2.0
// Soft prompts from PEFT folders, texts and rows: the same numbers as PEFT, or an error that says what to do.
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { BatonError } from "../../src/errors.js";
import type { PromptContract, PromptSource, PromptTarget } from "../../src/model/prompt.js";
import { compareContracts, resolvePrompt, writeContract } from "../../src/model/prompt.js";
import { formatSafetensors } from "../../src/model/safetensors.js";
import { createTokenizer } from "../../src/model/tokenizer.js";
import { fixturePath, loadArrays } from "../helpers/fixtures.js";
import { readMetadata } from "./metadata.js";

const hidden = 576;
const checkpoint = fixturePath("fthss-chain/p-a");
let target: PromptTarget;
let folder: string;

beforeAll(() => {
  target = { hidden, tokenizer: createTokenizer(readMetadata(fixturePath("tiny-llama/tiny-f32.gguf"))) };
});

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "baton-prompt-"));
  await cp(checkpoint, folder, { recursive: true });
});

afterEach(() => rm(folder, { recursive: true, force: true }));

async function failure(source: PromptSource, where: PromptTarget = target): Promise<BatonError> {
  try {
    await resolvePrompt(source, where);
  } catch (error) {
    if (BatonError.isInstance(error)) return error as BatonError;
    throw error;
  }
  throw new Error("nothing was thrown");
}

async function changeConfig(change: Record<string, unknown>): Promise<void> {
  const path = join(folder, "adapter_config.json");
  const config: unknown = { ...JSON.parse(await readFile(path, "utf8")), ...change };
  await writeFile(path, JSON.stringify(config));
}

const writeRows = (name: string, shape: number[], data: Float32Array) =>
  writeFile(join(folder, "adapter_model.safetensors"), formatSafetensors(new Map([[name, { shape, data }]])));

describe("a PEFT folder", () => {
  it("gives the rows that PEFT loads", async () => {
    const prompt = await resolvePrompt(checkpoint, target);
    const peft = loadArrays("peft-prompt").matrix("rows");
    expect(prompt).toMatchObject({ kind: "rows", count: 8, label: checkpoint });
    expect(prompt.contract).toBeUndefined();
    expect(prompt.rows).toEqual(peft.data);
  });

  it("has the hash of its rows: the same from memory, another for another prompt", async () => {
    const prompt = await resolvePrompt(checkpoint, target);
    const same = await resolvePrompt({ rows: prompt.rows as Float32Array, count: 8 }, target);
    const other = await resolvePrompt(fixturePath("fthss-chain/p-b"), target);
    expect(prompt.hash).toMatch(/^[0-9a-f]{64}$/);
    expect(same.hash).toBe(prompt.hash);
    expect(other.hash).not.toBe(prompt.hash);
  });

  it("may have unknown keys and lack all but peft_type", async () => {
    await changeConfig({ brand_new: { deep: [1] } });
    expect((await resolvePrompt(folder, target)).count).toBe(8);
    await writeFile(join(folder, "adapter_config.json"), '{"peft_type":"PROMPT_TUNING"}');
    expect((await resolvePrompt(folder, target)).count).toBe(8);
  });

  const configs: [string, Record<string, unknown>, string][] = [
    ["prefix tuning", { peft_type: "PREFIX_TUNING" }, '"PREFIX_TUNING"'],
    ["LoRA", { peft_type: "LORA" }, '"LORA"'],
    ["no peft_type", { peft_type: undefined }, "peft_type"],
    ["two submodules", { num_transformer_submodules: 2 }, "num_transformer_submodules"],
    ["another count", { num_virtual_tokens: 9 }, "num_virtual_tokens is 9"],
    ["another width", { token_dim: 2048 }, "token_dim is 2048"],
  ];
  it.each(configs)("with %s is refused", async (_, change, named) => {
    await changeConfig(change);
    const error = await failure(folder);
    expect(error.code).toBe("PROMPT_INVALID");
    expect(error.message).toContain(named);
    expect(error.message).toContain("adapter_config.json");
  });

  it("of another width than the model's is refused with both widths", async () => {
    const error = await failure(folder, { ...target, hidden: 2048 });
    expect(error.code).toBe("PROMPT_INVALID");
    expect(error.facts).toMatchObject({ width: 576, hidden: 2048, count: 8 });
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    "with %s is refused by row",
    async (bad) => {
      const data = new Float32Array(8 * hidden);
      data[3 * hidden + 17] = bad;
      await writeRows("prompt_embeddings", [8, hidden], data);
      const error = await failure(folder);
      expect(error.code).toBe("PROMPT_INVALID");
      expect(error.facts).toMatchObject({ row: 3, column: 17, value: String(bad) });
    },
  );

  it("without the tensor, or with one of another rank, is refused with what it has", async () => {
    await writeRows("base_model.prompt_embeddings", [8, hidden], new Float32Array(8 * hidden));
    expect((await failure(folder)).facts.found).toEqual(["base_model.prompt_embeddings"]);
    await writeRows("prompt_embeddings", [8 * hidden], new Float32Array(8 * hidden));
    expect((await failure(folder)).message).toContain(`[${8 * hidden}]`);
    await writeRows("prompt_embeddings", [0, hidden], new Float32Array(0));
    await changeConfig({ num_virtual_tokens: 0 });
    expect((await failure(folder)).message).toContain("0 rows");
  });

  it("that is no folder, is empty, or has old weights only says what to do", async () => {
    const nowhere = join(folder, "nowhere");
    expect((await failure(nowhere)).message).toMatch(/does not exist.*save_pretrained/);
    expect((await failure(join(folder, "adapter_config.json"))).message).toContain("is not a folder");
    await rm(join(folder, "adapter_model.safetensors"));
    expect((await failure(folder)).message).toContain("safe_serialization");
    await rm(join(folder, "adapter_config.json"));
    expect((await failure(folder)).message).toContain("has no adapter_config.json");
    await writeFile(join(folder, "adapter_config.json"), "[]");
    expect((await failure(folder)).message).toContain("not a JSON object");
    expect((await failure("")).code).toBe("PROMPT_INVALID");
    expect((await failure("a\0b")).code).toBe("PROMPT_INVALID");
  });

  it("with any bytes in any file is a prompt or a typed error", async () => {
    const files = ["adapter_config.json", "adapter_model.safetensors", "baton_contract.json"];
    await writeContract(folder, contract);
    const originals = new Map<string, Buffer>();
    for (const name of files) originals.set(name, await readFile(join(folder, name)));
    const change = fc.record({ at: fc.nat(2000), to: fc.integer({ min: 0, max: 255 }) });
    const property = fc.asyncProperty(
      fc.constantFrom(...files),
      fc.array(change, { minLength: 1 }),
      async (name, changes) => {
        const original = originals.get(name) as Buffer;
        const bytes = Buffer.from(original);
        for (const { at, to } of changes) bytes[at % bytes.length] = to;
        await writeFile(join(folder, name), bytes);
        const outcome = await resolvePrompt(folder, target).catch((error: unknown) => error);
        await writeFile(join(folder, name), original);
        if (outcome instanceof Error) expect(BatonError.isInstance(outcome), String(outcome)).toBe(true);
      },
    );
    await fc.assert(property, { numRuns: 300 });
  });
});

describe("a text", () => {
  it("gives its plain tokens, repeated or cut to the virtual tokens", async () => {
    const text = "Answer <|im_end|> it";
    const ids = [...target.tokenizer.encode(text, { specials: false })];
    const whole = await resolvePrompt({ text }, target);
    expect([...(whole.tokens ?? [])]).toEqual(ids);
    const longer = await resolvePrompt({ text, virtualTokens: ids.length + 2 }, target);
    expect([...(longer.tokens ?? [])]).toEqual([...ids, ids[0], ids[1]]);
    const shorter = await resolvePrompt({ text, virtualTokens: 1 }, target);
    expect([...(shorter.tokens ?? [])]).toEqual([ids[0]]);
    expect(new Set([whole.hash, longer.hash, shorter.hash]).size).toBe(3);
    expect(whole.kind).toBe("tokens");
    expect(longer.count).toBe(ids.length + 2);
  });

  it.each([0, -1, 1.5, Number.NaN])("with %s virtual tokens is refused", async (virtualTokens) => {
    const error = await failure({ text: "a", virtualTokens });
    expect(error.code).toBe("PROMPT_INVALID");
    expect(error.message).toContain(String(virtualTokens));
  });

  it("without tokens is refused", async () =>
    expect((await failure({ text: "" })).code).toBe("PROMPT_INVALID"));
});

describe("rows", () => {
  it("are copied: what was hashed does not change", async () => {
    const rows = new Float32Array(2 * hidden).fill(0.5);
    const prompt = await resolvePrompt({ rows, count: 2 }, target);
    rows.fill(9);
    expect(prompt.rows?.every((value) => value === 0.5)).toBe(true);
  });

  it("of another shape than stated, or none, are refused", async () => {
    const rows = new Float32Array(2 * hidden);
    expect((await failure({ rows, count: 3 })).facts).toMatchObject({ count: 3, hidden });
    expect((await failure({ rows, count: 0 })).message).toContain("0 rows");
    expect((await failure({ rows, count: Number.NaN })).code).toBe("PROMPT_INVALID");
    expect((await failure({ rows: [1, 2], count: 1 } as unknown as PromptSource)).code).toBe(
      "PROMPT_INVALID",
    );
    expect((await failure(null as unknown as PromptSource)).code).toBe("PROMPT_INVALID");
  });
});

const contract: PromptContract = {
  version: 1,
  base: { contentHash: "aa", weightType: "Q4_1" },
  layout: "frames",
  format: [null, "Question: {question}\n"],
  opener: [1, 2],
  lead: " ",
  closers: [2, 0],
  reads: [{ kind: "input" }, { kind: "output", prompt: "bb" }],
  own: [{ kind: "input", alone: true }],
};

describe("a contract", () => {
  it("is read as written, unknown keys ignored", async () => {
    await writeContract(folder, contract);
    expect((await resolvePrompt(folder, target)).contract).toEqual(contract);
    const path = join(folder, "baton_contract.json");
    await writeFile(path, JSON.stringify({ ...contract, unheardOf: true }));
    expect((await resolvePrompt(folder, target)).contract).toEqual(contract);
  });

  const broken: [string, unknown][] = [
    ["version", 2],
    ["base", { contentHash: "aa" }],
    ["layout", "other"],
    ["format", [3]],
    ["opener", [-1]],
    ["lead", null],
    ["closers", "x"],
    ["reads", [{ kind: "prompt" }]],
    ["own", [{ kind: "input", alone: "yes" }]],
  ];
  it.each(broken)("with a broken %s is refused by name", async (key, value) => {
    await writeFile(join(folder, "baton_contract.json"), JSON.stringify({ ...contract, [key]: value }));
    const error = await failure(folder);
    expect(error.code).toBe("PROMPT_INVALID");
    expect(error.facts).toMatchObject({ key });
    expect(error.message).toContain("baton_contract.json");
  });

  it("equals itself and names every field that differs", () => {
    expect(compareContracts(contract, structuredClone(contract))).toEqual([]);
    const used: PromptContract = {
      ...contract,
      base: { contentHash: "cc", weightType: "Q8_0" },
      layout: "concatenated",
      format: [null],
      opener: [],
      lead: "",
      closers: [0],
      reads: [
        { kind: "output", prompt: "dd" },
        { kind: "output", prompt: null },
      ],
      own: [{ kind: "input", alone: false }],
    };
    expect(compareContracts(contract, used)).toEqual([
      { field: "base.contentHash", trained: "aa", used: "cc" },
      { field: "base.weightType", trained: "Q4_1", used: "Q8_0" },
      { field: "layout", trained: "frames", used: "concatenated" },
      { field: "opener", trained: "[1,2]", used: "[]" },
      { field: "lead", trained: '" "', used: '""' },
      { field: "closers", trained: "[2,0]", used: "[0]" },
      { field: "format[1]", trained: '"Question: {question}\\n"', used: "absent" },
      { field: "reads[0]", trained: "input", used: "output of prompt dd" },
      { field: "reads[1]", trained: "output of prompt bb", used: "output without a prompt" },
      { field: "own[0]", trained: "input alone", used: "input" },
    ]);
  });

  it("that cannot be written is an IO error with the path", async () => {
    const error = await writeContract(join(folder, "nowhere"), contract).catch((caught: unknown) => caught);
    expect((error as BatonError).code).toBe("IO");
    expect((error as BatonError).message).toContain("nowhere");
  });
});
