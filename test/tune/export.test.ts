// SPDX-License-Identifier: Apache-2.0
// Exported prompts are the bytes that PEFT's save_pretrained wrote for the same rows, and come back as they were. With
// BATON_PEFT_PYTHON (a Python that has PEFT; see test/fixtures/python) PEFT loads one, and its logits are compared.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { BatonError } from "../../src/errors.js";
import { resolveModel } from "../../src/index.js";
import type { PromptContract } from "../../src/model/contract.js";
import type { PromptTarget } from "../../src/model/prompt.js";
import { resolvePrompt } from "../../src/model/prompt.js";
import { createTokenizer } from "../../src/model/tokenizer.js";
import type { TrainedPrompt } from "../../src/tune/export.js";
import { exportPrompt } from "../../src/tune/export.js";
import { openSmol, writeList } from "../engine/support.js";
import { fixturePath } from "../helpers/fixtures.js";
import { readMetadata } from "../model/metadata.js";
import { failure } from "./support.js";

const contract: PromptContract = {
  version: 1,
  base: { contentHash: "aa", weightType: "Q4_1" },
  layout: "frames",
  format: [null],
  opener: [1, 2],
  lead: " ",
  closers: [2],
  reads: [{ kind: "input" }],
  own: [],
};

/** A folder of PEFT's and what it must have been given. */
interface Saved {
  folder: string;
  model: TrainedPrompt["model"];
  init: TrainedPrompt["init"]["kind"];
}
const smol = { hidden: 576, heads: 9, layers: 30 };
const small = { hidden: 16, heads: 4, layers: 2 };
const saved: Saved[] = [
  { folder: "fthss-chain/p-a", model: smol, init: "TEXT" },
  { folder: "fthss-chain/p-b", model: smol, init: "TEXT" },
  { folder: "peft-export/text", model: small, init: "TEXT" },
  { folder: "peft-export/sample-vocab", model: small, init: "SAMPLE_VOCAB" },
  { folder: "peft-export/random", model: small, init: "RANDOM" },
];

let tokenizer: PromptTarget["tokenizer"];
let folder: string;
beforeAll(() => {
  tokenizer = createTokenizer(readMetadata(fixturePath("tiny-llama/tiny-f32.gguf")));
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "baton-export-"));
  return () => rm(folder, { recursive: true, force: true });
});

/** The prompt of a folder as our importer reads it, and what PEFT was told. */
async function promptOf({ folder: name, model, init }: Saved): Promise<TrainedPrompt> {
  const { rows, count } = await resolvePrompt(fixturePath(name), { hidden: model.hidden, tokenizer });
  const config = JSON.parse(await readFile(fixturePath(`${name}/adapter_config.json`), "utf8"));
  const baseModel = config.base_model_name_or_path;
  const begin: TrainedPrompt["init"] =
    init === "TEXT" ? { kind: "TEXT", text: config.prompt_tuning_init_text } : { kind: init };
  return { rows: rows as Float32Array, count, model, baseModel, init: begin, contract };
}

const sample = () => promptOf(saved[0] as Saved);

describe("an exported prompt", () => {
  it.each(saved.map((one) => [one.folder, one] as const))(
    "has the bytes that PEFT wrote: %s",
    async (name, one) => {
      const out = join(folder, "made", "here");
      await exportPrompt(out, await promptOf(one));
      for (const file of ["adapter_config.json", "adapter_model.safetensors"]) {
        expect(
          (await readFile(join(out, file))).equals(await readFile(fixturePath(`${name}/${file}`))),
          file,
        ).toBe(true);
      }
      expect((await readdir(out)).sort()).toEqual([
        "adapter_config.json",
        "adapter_model.safetensors",
        "baton_contract.json",
      ]);
    },
  );

  it("comes back with its rows, its hash and its contract", async () => {
    const prompt = await sample();
    await exportPrompt(folder, prompt);
    const target = { hidden: 576, tokenizer };
    const back = await resolvePrompt(folder, target);
    expect(back.rows).toEqual(prompt.rows);
    expect(back.hash).toBe((await resolvePrompt(fixturePath("fthss-chain/p-a"), target)).hash);
    expect(back.contract).toEqual(contract);
  });

  it("takes the place of an older one and leaves other files alone", async () => {
    await writeFile(join(folder, "notes.txt"), "mine");
    await exportPrompt(folder, await sample());
    await exportPrompt(folder, await promptOf(saved[1] as Saved));
    expect((await resolvePrompt(folder, { hidden: 576, tokenizer })).count).toBe(6);
    expect(await readFile(join(folder, "notes.txt"), "utf8")).toBe("mine");
    expect((await readdir(folder)).length).toBe(4);
  });

  it("takes away what killed processes left of theirs, and not what a living one writes", async () => {
    const dead = spawnSync(process.execPath, ["-e", ""]).pid;
    for (const pid of [dead, process.ppid]) {
      await writeFile(join(folder, `adapter_model.safetensors.${pid}.baton-incomplete`), "half");
    }
    await exportPrompt(folder, await sample());
    const left = (await readdir(folder)).filter((name) => name.endsWith(".baton-incomplete"));
    expect(left).toEqual([`adapter_model.safetensors.${process.ppid}.baton-incomplete`]);
  });

  it("is not written with another shape, or with what is no number", async () => {
    const prompt = await sample();
    const shape = await failure(exportPrompt(folder, { ...prompt, count: 9 }));
    expect(shape).toMatchObject({ code: "PROMPT_INVALID", facts: { count: 9, hidden: 576 } });
    const rows = prompt.rows.slice();
    rows[2 * 576 + 5] = Number.NaN;
    const value = await failure(exportPrompt(folder, { ...prompt, rows }));
    expect(value).toMatchObject({ code: "PROMPT_INVALID", facts: { row: 2, value: "NaN" } });
    expect(await readdir(folder)).toEqual([]);
  });

  it("that cannot be written leaves what was there", async () => {
    const prompt = await sample();
    const blocked = join(folder, "file");
    await writeFile(blocked, "");
    const error = await failure(exportPrompt(join(blocked, "prompt"), prompt));
    expect(BatonError.isInstance(error) && error.code).toBe("IO");
    expect(await readdir(folder)).toEqual(["file"]);
  });
});

it("is loaded by PEFT, whose logits agree", async (context) => {
  const python = process.env.BATON_PEFT_PYTHON;
  if (python === undefined) context.skip("BATON_PEFT_PYTHON names no Python with PEFT");
  const model = await openSmol();
  try {
    const tokens = model.tokenizer.encode("The capital of France is Paris, and the river there is the", {
      specials: false,
    });
    const prompt = await sample();
    await exportPrompt(folder, prompt);
    const list = [
      { name: "P_A", start: -prompt.count, reads: [] },
      { name: "I_ALL", start: 0, reads: [{ segment: "P_A", rows: prompt.count, shift: 0 }] },
    ];
    const contents = new Map<string, Int32Array | Float32Array>([
      ["P_A", prompt.rows],
      ["I_ALL", Int32Array.from(tokens)],
    ]);
    const found = await writeList(model.engine, list, contents);
    const logits = Float32Array.from([...(found.get("P_A") ?? []), ...(found.get("I_ALL") ?? [])]);
    await writeArrays(join(folder, "logits.safetensors"), Int32Array.from(tokens), logits, model.info.vocab);
    const { path } = await resolveModel("smollm2-135m-instruct");
    const script = fixturePath("python/peft_export.py");
    const said = execFileSync(python as string, [script, "--check", folder, "--model", path], {
      encoding: "utf8",
    });
    expect(JSON.parse(said.trim().split("\n").at(-1) as string)).toMatchObject({
      rows: prompt.count + tokens.length,
      savedAgainIsTheSame: true,
    });
  } finally {
    await model.close();
  }
}, 600_000);

/** tokens int32 [R], logits float32 [n + R, V]. */
async function writeArrays(
  path: string,
  tokens: Int32Array,
  logits: Float32Array,
  vocab: number,
): Promise<void> {
  const header = JSON.stringify({
    tokens: { dtype: "I32", shape: [tokens.length], data_offsets: [0, tokens.byteLength] },
    logits: {
      dtype: "F32",
      shape: [logits.length / vocab, vocab],
      data_offsets: [tokens.byteLength, tokens.byteLength + logits.byteLength],
    },
  });
  const text = Buffer.from(header.padEnd(Math.ceil(header.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  await writeFile(
    path,
    Buffer.concat([length, text, Buffer.from(tokens.buffer), Buffer.from(logits.buffer)]),
  );
}
