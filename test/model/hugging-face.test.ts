// SPDX-License-Identifier: Apache-2.0
// Models as Hugging Face stores them: the same numbers as transformers, whatever the number of files; and what is said
// when a folder is not whole.

import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loadModel } from "../../src/index.js";
import { loadNative } from "../../src/native/load.js";
import { exact, logitsOfText } from "../engine/support.js";
import { fixturePath, loadArrays, loadFacts, relativeL2 } from "../helpers/fixtures.js";

const published = fixturePath("tiny-hf/model");
const arrays = loadArrays("tiny-hf");
const { shards } = loadFacts<{ shards: string[] }>("tiny-hf");
const index = "model.safetensors.index.json";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "baton-hf-"));
  for (const name of await readdir(published)) await copyFile(join(published, name), join(folder, name));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function logitsOf(path: string) {
  const model = await loadModel(path, exact);
  try {
    return { ...(await logitsOfText(model.engine, arrays.ints("tokens"))), hash: model.info.contentHash };
  } finally {
    await model.close();
  }
}

/** One safetensors file of several: headers joined, offsets moved. */
async function merged(names: readonly string[]): Promise<Buffer> {
  const header: Record<string, { data_offsets: [number, number] }> = {};
  const parts: Buffer[] = [];
  let bytes = 0;
  for (const name of names) {
    const file = await readFile(join(published, name));
    const start = 8 + Number(file.readBigUInt64LE(0));
    const { __metadata__: _, ...tensors } = JSON.parse(file.toString("utf8", 8, start));
    for (const [tensor, entry] of Object.entries<{ data_offsets: [number, number] }>(tensors)) {
      const [begin, end] = entry.data_offsets;
      header[tensor] = { ...entry, data_offsets: [begin + bytes, end + bytes] };
    }
    parts.push(file.subarray(start));
    bytes += file.length - start;
  }
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([text, Buffer.alloc(-text.length & 7, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded, ...parts]);
}

describe("a Hugging Face folder", () => {
  test("in shards: logits of 40 rows as transformers has them", async () => {
    expect(shards.length).toBe(3);
    const ours = await logitsOf(folder);
    expect(relativeL2(ours, arrays.matrix("logits"))).toBeLessThanOrEqual(1e-4);
  });

  test("as one file, by folder or by the file's path: the same bits", async () => {
    const sharded = await logitsOf(folder);
    await writeFile(join(folder, "model.safetensors"), await merged(shards));
    for (const name of [...shards, index]) await rm(join(folder, name));
    for (const path of [folder, join(folder, "model.safetensors")]) {
      const { data } = await logitsOf(path);
      expect(data).toEqual(sharded.data);
    }
  });

  test("brings tokenizer, closing tokens and chat template", async () => {
    const model = await loadModel(folder, exact);
    try {
      expect(model.info).toMatchObject({ family: "llama", vocab: 512, weightType: "BF16" });
      const text = "The harbour of Marsk";
      const ids = model.tokenizer.encode(text, { specials: false });
      expect(model.tokenizer.decode(ids)).toBe(text);
      expect(model.tokenizer.closers).toEqual(expect.arrayContaining([2, 0]));
      expect(model.template().render([{ role: "user", content: "Hi" }])).toContain("user\nHi");
    } finally {
      await model.close();
    }
  });

  test("appears in GGUF's terms", () => {
    const info = loadNative().readModelFile(folder);
    expect(info).toMatchObject({ format: "safetensors", version: 0 });
    expect(info.metadata["llama.block_count"]).toBe(2);
    const gate = info.tensors.find(({ name }) => name === "blk.1.ffn_gate.weight");
    expect(gate).toMatchObject({ type: "BF16", shape: [192, 64], bytes: 192 * 64 * 2 });
  });

  test("without a shard, or with one of another model: an error that names it", async () => {
    const [first = "", second = ""] = shards;
    await copyFile(join(folder, first), join(folder, second));
    await expect(loadModel(folder, exact)).rejects.toMatchObject({
      code: "MODEL_FORMAT",
      message: expect.stringContaining(second),
    });
    await rm(join(folder, second));
    await expect(loadModel(folder, exact)).rejects.toMatchObject({
      code: "MODEL_FORMAT",
      message: expect.stringContaining(`shard '${second}' is absent`),
    });
  });

  test("without config.json is no model folder", async () => {
    await rm(join(folder, "config.json"));
    await expect(loadModel(folder, exact)).rejects.toMatchObject({ code: "SOURCE_FAILED" });
    await expect(loadModel(join(folder, shards[0] as string), exact)).rejects.toMatchObject({
      code: "MODEL_FORMAT",
      message: expect.stringContaining("config.json beside the file"),
    });
  });
});
