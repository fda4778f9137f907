// SPDX-License-Identifier: Apache-2.0
// What TypeScript reads of files from anywhere: whatever stands in them, a reader returns or throws a typed error, soon,
// and changes nothing of the program around it. BATON_FUZZ=N tries N times as much.

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseHeader } from "../../src/cache/snapshot/header.js";
import { chainFromDocument } from "../../src/chain/document/index.js";
import { BatonError, loadModel, type Model, resolveModel } from "../../src/index.js";
import { parseContract } from "../../src/model/contract.js";
import { resolvePrompt } from "../../src/model/prompt.js";
import { parseSafetensors } from "../../src/model/safetensors.js";
import { createTokenizer } from "../../src/model/tokenizer.js";
import { definitionFromJson } from "../../src/model/tokenizer-json.js";
import { openCheckpoint } from "../../src/tune/checkpoint.js";
import { fixturePath } from "../helpers/fixtures.js";
import { changedBytes, changedJson } from "../helpers/mutations.js";
import { readMetadata } from "../model/metadata.js";
import { settled, tinyPath } from "./support.js";

const rounds = Math.max(1, Number(process.env.BATON_FUZZ ?? 1));
const seed = Number(process.env.BATON_FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** Of one input; a reader that takes longer than any sound file would is one that somebody can stop a program with. */
const mostMs = 5000;

let folder = "";
let model: Model;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "baton-parsers-"));
  model = await loadModel(tinyPath, { threads: 1, cacheBytes: 2 << 20, indexBytes: 0 });
});
afterAll(async () => {
  await model.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Reads many damaged inputs; both outcomes must be met, and no other. */
async function survive<T>(inputs: fc.Arbitrary<T>, runs: number, read: (input: T) => unknown): Promise<void> {
  const outcomes = { taken: 0, refused: 0 };
  const property = fc.asyncProperty(inputs, async (input) => {
    const began = process.cpuUsage(); // no clock: a busy machine, or a process that was stopped, is no finding
    try {
      await read(input);
      outcomes.taken += 1;
    } catch (error) {
      if (!BatonError.isInstance(error)) throw error;
      if (error.code === "INTERNAL") throw new Error(`INTERNAL: ${error.message}`, { cause: error });
      outcomes.refused += 1;
    }
    const { user, system } = process.cpuUsage(began); // microseconds
    const ms = (user + system) / 1000;
    if (ms > mostMs) throw new Error(`took ${ms} ms of CPU`);
    if (Object.hasOwn(Object.prototype, "polluted"))
      throw new Error("the prototype of all objects was changed");
  });
  await fc.assert(property, { numRuns: runs * rounds, seed });
  expect(outcomes.refused, `seed ${seed}`).toBeGreaterThan(0);
  expect(outcomes.taken, `seed ${seed}`).toBeGreaterThan(0);
}

const json = (path: string): unknown => JSON.parse(readFileSync(path, "utf8"));
const utf8 = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value) ?? "");
const texts = ["The harbour of Marsk.", " <|im_start|> \u{1f6a2}\u0000é", ""];

describe("prompts", () => {
  const sound = fixturePath("fthss-chain/p-a");
  const read = (): unknown => resolvePrompt(folder, { hidden: 576, tokenizer: model.tokenizer });

  test("adapter_config.json", async () => {
    cpSync(sound, folder, { recursive: true });
    const path = join(folder, "adapter_config.json");
    await survive(changedJson(json(path)), 400, (value) => {
      writeFileSync(path, utf8(value));
      return read();
    });
  });

  test("adapter_model.safetensors", async () => {
    cpSync(sound, folder, { recursive: true });
    const path = join(folder, "adapter_model.safetensors");
    const bytes = readFileSync(path);
    await survive(changedBytes(bytes, 300), 400, (value) => {
      writeFileSync(path, value);
      return read();
    });
    await survive(changedBytes(bytes, 300), 1000, (value) => parseSafetensors(value, "damaged"));
  });

  test("baton_contract.json", async () => {
    const contract = json("prompts/compress-answer/answer/baton_contract.json");
    await survive(changedJson(contract), 2000, (value) =>
      parseContract(JSON.stringify(value) ?? "", "damaged"),
    );
  });
});

describe("tokenizers", () => {
  test("of GGUF metadata: made, and used", async () => {
    const sound = readMetadata(tinyPath);
    await survive(changedJson(sound), 400, (value) => {
      const tokenizer = createTokenizer({ ...(value as typeof sound) }); // the addon gives an object
      for (const text of texts) tokenizer.decode(tokenizer.encode(text, { specials: true }));
    });
  });

  test("of GGUF metadata with a token id that cannot become a number", () => {
    const wrong = { ...readMetadata(tinyPath), "tokenizer.ggml.bos_token_id": { toString: 1 } };
    expect(() => createTokenizer(wrong as never)).toThrow(/bos_token_id.*a token id/);
  });

  test("of tokenizer.json", async () => {
    const at = fixturePath("tiny-hf/model");
    const sound = json(join(at, "tokenizer.json"));
    const metadata = readMetadata(tinyPath);
    await survive(changedJson(sound), 200, (value) =>
      definitionFromJson(JSON.stringify(value) ?? "", metadata),
    );
  });
});

describe("chains", () => {
  test("documents", async () => {
    const stage = {
      stage: "s",
      opener: "Answer:",
      maxTokens: 4,
      closers: ["<|endoftext|>"],
      own: ["passages"],
    };
    const document = {
      model: "smollm2-360m",
      options: { threads: 1, kvType: "f16" },
      steps: [
        { input: "question" },
        { input: "passages" },
        stage,
        { rounds: "r", max: 2, steps: [{ stage: "turn", maxTokens: 2 }] },
        { fanOut: "f", samples: 2, steps: [{ stage: "vote", temperature: 0.5 }] },
      ],
    };
    expect(() => chainFromDocument(model, document, { directory: folder })).not.toThrow();
    await survive(changedJson(document), 1500, (value) =>
      chainFromDocument(model, value, { directory: folder }),
    );
  });
});

describe("found by these tests before", () => {
  test("a value of adapter_config.json with a toString of its own", async () => {
    cpSync(fixturePath("fthss-chain/p-a"), folder, { recursive: true });
    const hostile = { peft_type: "PROMPT_TUNING", num_transformer_submodules: { toString: 1 } };
    writeFileSync(join(folder, "adapter_config.json"), JSON.stringify(hostile));
    const reading = resolvePrompt(folder, { hidden: 576, tokenizer: model.tokenizer });
    await expect(reading).rejects.toMatchObject({ code: "PROMPT_INVALID" });
  });

  test("a token id of tokenizer.json that is an object, and a control token of 100,000 letters", () => {
    const sound = json(join(fixturePath("tiny-hf/model"), "tokenizer.json")) as { model: { vocab: object } };
    const wrong = {
      ...sound,
      model: { ...sound.model, vocab: { ...sound.model.vocab, a: { toString: 1 } } },
    };
    const metadata = readMetadata(tinyPath);
    expect(() => definitionFromJson(JSON.stringify(wrong), metadata)).toThrow(/token id \{"toString":1\}/);
    const tokens = [...(metadata["tokenizer.ggml.tokens"] as string[])];
    tokens[0] = "x".repeat(100_000);
    const long = () =>
      createTokenizer({ ...metadata, "tokenizer.ggml.tokens": tokens }).encode("x", { specials: true });
    expect(long).toThrow(expect.objectContaining({ code: "MODEL_FORMAT" }));
  });
});

describe("snapshots and checkpoints", () => {
  test("headers", async () => {
    const read = { kind: "output", start: 5, rows: 4, open: false, reads: [[0, 5, 0]] };
    const entry = { kind: "input", start: 0, rows: 5, open: false, reads: [] };
    const header = {
      of: "handle",
      id: "x",
      binding: { model: "y" },
      segments: [entry, read],
      rows: 9,
      state: null,
    };
    await survive(changedJson(header), 2000, (value) => parseHeader(utf8(value), "damaged"));
  });

  test("whole, from memory: restored or refused, and no block stays", async () => {
    const handle = model.cache.open();
    await handle.append(Array.from({ length: 40 }, (_, i) => (i * 7) % 500));
    const path = join(folder, "sound.snapshot");
    await handle.snapshot(path);
    handle.close();
    const bytes = new Uint8Array(readFileSync(path));
    const whole = await model.cache.restore(bytes);
    whole.close();
    await survive(fc.oneof(changedBytes(bytes), fc.constant(bytes)), 300, async (value) => {
      (await model.cache.restore(value, { partial: value.length % 2 === 0 })).close();
    });
    expect(await settled(() => model.stats())).toMatchObject({ blocksUsed: 0, segments: 0 });
  });

  test("checkpoints", async () => {
    const path = join(folder, "checkpoint.safetensors");
    const sound = readFileSync(join(fixturePath("fthss-chain/p-a"), "adapter_model.safetensors"));
    const none = join(folder, "none.safetensors");
    await survive(fc.oneof(changedBytes(sound, 300), fc.constant(null)), 300, (value) => {
      if (value === null) return openCheckpoint(none);
      writeFileSync(path, value);
      return openCheckpoint(path);
    });
  });
});

test("names of models: found, or refused as names", async () => {
  const names = fc.oneof(
    fc.string(),
    fc.constantFrom("hf:", "hf:a/b", "hf:../../x/y", "file:", "\0", "/", "."),
  );
  const context = { env: { HF_ENDPOINT: "http://127.0.0.1:9", HF_HOME: folder } };
  await survive(fc.oneof(names, fc.constant(tinyPath)), 100, (name) => resolveModel(name, context));
});
