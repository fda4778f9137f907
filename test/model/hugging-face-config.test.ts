// SPDX-License-Identifier: Apache-2.0
// What stands around the weights of a Hugging Face folder: a config in the words of older versions gives the same
// model, special tokens are found in whichever file names them, and files of different models are refused.

import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loadModel } from "../../src/index.js";
import { createTokenizer } from "../../src/model/tokenizer.js";
import { loadNative } from "../../src/native/load.js";
import { exact, logitsOfText, openFolder } from "../engine/support.js";
import { fixturePath, loadArrays, loadFacts } from "../helpers/fixtures.js";

const { gemmaTexts } = loadFacts<{ gemmaTexts: { text: string; ids: number[] }[] }>("families-hf");
const tokens = loadArrays("families").ints("tokens").subarray(0, 100);

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "baton-hf-config-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

type Values = Record<string, unknown>;

const copy = (name: string) => cp(fixturePath(`families-hf/${name}`), folder, { recursive: true });
const write = (name: string, value: unknown) => writeFile(join(folder, name), JSON.stringify(value));

/** `undefined` takes a key out. */
async function change(file: string, values: Values): Promise<void> {
  const found = JSON.parse(await readFile(join(folder, file), "utf8")) as Values;
  await write(file, { ...found, ...values });
}

async function logits(): Promise<Float32Array> {
  const engine = await openFolder(folder);
  try {
    return (await logitsOfText(engine, tokens)).data;
  } finally {
    await engine.close();
  }
}

const tokenizer = () => createTokenizer(loadNative().readModelFile(folder).metadata);

describe("config.json in other words", () => {
  const none = { rope_parameters: undefined, layer_types: undefined };
  const cases: [string, string, Values][] = [
    [
      "gemma3",
      "as published in 2025",
      {
        ...none,
        rope_theta: 1000000.0,
        rope_local_base_freq: 10000.0,
        rope_scaling: { factor: 8.0, rope_type: "linear" },
        _sliding_window_pattern: undefined,
        sliding_window_pattern: 6,
      },
    ],
    [
      "gemma3",
      "with its family's defaults left out",
      {
        ...none,
        rope_scaling: { factor: 8, type: "linear" },
        _sliding_window_pattern: undefined,
        tie_word_embeddings: undefined,
      },
    ],
    [
      "llama3",
      "as published in 2024",
      {
        ...none,
        rope_theta: 500000,
        rope_scaling: {
          factor: 8,
          low_freq_factor: 1,
          high_freq_factor: 4.0,
          original_max_position_embeddings: 64,
          rope_type: "llama3",
        },
      },
    ],
    ["mistral", "with a rope of its own key", { ...none, rope_theta: 10000 }],
    ["qwen2", "with a window that is not used", { sliding_window: 24, use_sliding_window: false }],
  ];
  test.each(cases)("%s %s: the same bits", async (name, _what, values) => {
    await copy(name);
    const wanted = await logits();
    await change("config.json", values);
    expect(await logits()).toEqual(wanted);
  });

  const effects: [string, Values][] = [
    ["gemma3", { sliding_window: 12 }],
    ["gemma3", { layer_types: Array(7).fill("full_attention") }],
    ["gemma3", { query_pre_attn_scalar: 64 }],
    ["mistral", { sliding_window: 12 }],
    ["mistral", { sliding_window: null }],
    ["llama3", { rope_parameters: { rope_type: "default", rope_theta: 500000 } }],
  ];
  test.each(effects)("%s with %j is another model", async (name, values) => {
    await copy(name);
    const before = await logits();
    await change("config.json", values);
    expect(await logits()).not.toEqual(before);
  });

  const refused: [Values, string, string][] = [
    [{ use_bidirectional_attention: true }, "MODEL_UNSUPPORTED", "'use_bidirectional_attention' is true"],
    [{ final_logit_softcapping: 30.0 }, "MODEL_UNSUPPORTED", "final_logit_softcapping"],
    [{ hidden_activation: "gelu" }, "MODEL_UNSUPPORTED", "'gelu_pytorch_tanh'"],
    [{ layer_types: ["full_attention"] }, "MODEL_FORMAT", "one for each layer"],
    [{ layer_types: Array(7).fill("linear_attention") }, "MODEL_UNSUPPORTED", "'linear_attention'"],
    [{ query_pre_attn_scalar: 0 }, "MODEL_FORMAT", "a positive number"],
    [{ model_type: "gemma3" }, "MODEL_UNSUPPORTED", "'gemma3_text'"],
    [
      { rope_parameters: { sliding_attention: { rope_type: "linear", factor: 2 } } },
      "MODEL_UNSUPPORTED",
      "'sliding_attention'",
    ],
  ];
  test.each(refused)("%j is refused by name", async (values, code, words) => {
    await copy("gemma3");
    await change("config.json", values);
    await expect(openFolder(folder)).rejects.toMatchObject({ code, message: expect.stringContaining(words) });
  });
});

describe("special tokens", () => {
  beforeEach(() => copy("gemma3"));

  test("from special_tokens_map.json and the post-processor: the ids that tokenizers gives", () => {
    const made = tokenizer();
    expect(made).toMatchObject({ bosId: 2, addBos: true, size: 374 });
    expect(made.closers).toEqual([1, 4]);
    for (const { text, ids } of gemmaTexts) {
      expect([made.bosId, ...made.encode(text, { specials: true })]).toEqual(ids);
    }
  });

  test("tokenizer_config.json comes first, ids of config.json last", async () => {
    await change("config.json", { bos_token_id: 3, eos_token_id: [4, 0] });
    expect(tokenizer()).toMatchObject({ bosId: 2, closers: [1, 4, 0] });
    await write("tokenizer_config.json", { bos_token: "<unk>", eos_token: { content: "<end_of_turn>" } });
    expect(tokenizer()).toMatchObject({ bosId: 3, addBos: true, closers: [4, 0] });
    await write("tokenizer_config.json", { bos_token: null, eos_token: null, add_bos_token: false });
    expect(tokenizer()).toMatchObject({ bosId: 2, addBos: false, closers: [4, 0] });
  });

  test("from config.json alone, and generation_config.json before it", async () => {
    await rm(join(folder, "special_tokens_map.json"));
    await change("tokenizer.json", { post_processor: null });
    await change("config.json", { bos_token_id: 3, eos_token_id: 0 });
    expect(tokenizer()).toMatchObject({ bosId: 3, addBos: false, closers: [0, 4] });
    await write("generation_config.json", { bos_token_id: 2, eos_token_id: [1, 4] });
    expect(tokenizer()).toMatchObject({ bosId: 2, closers: [1, 4] });
  });

  test("that the tokenizer does not have, or that are no text, are refused", async () => {
    await write("tokenizer_config.json", { bos_token: "<s>" });
    expect(tokenizer).toThrow(/bos_token "<s>".*374 tokens of tokenizer.json/);
    await write("tokenizer_config.json", { bos_token: 7 });
    await expect(openFolder(folder)).rejects.toMatchObject({
      code: "MODEL_FORMAT",
      message: expect.stringContaining("'bos_token' in tokenizer_config.json"),
    });
  });

  test("a post-processor that puts two tokens in front is refused", async () => {
    const special = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
    const single = [special("<bos>"), special("<unk>"), { Sequence: { id: "A", type_id: 0 } }];
    const names = { "<bos>": { id: "<bos>", ids: [2], tokens: ["<bos>"] } };
    const post_processor = { type: "TemplateProcessing", single, pair: [], special_tokens: names };
    await change("tokenizer.json", {
      post_processor: { type: "Sequence", processors: [{ type: "ByteLevel" }, post_processor] },
    });
    expect(tokenizer).toThrow(/more than one token in front/);
  });
});

describe("a chain on the folder alone", () => {
  test("BOS, template and closing tokens come from its files", async () => {
    await copy("gemma3");
    const model = await loadModel(folder, exact);
    try {
      const rendered = model.template().render([{ role: "user", content: "ice" }]);
      expect(rendered).toBe("<bos><start>ice<eos>");
    } finally {
      await model.close();
    }
  });

  test("named templates of either kind", async () => {
    await copy("gemma3");
    const list = [
      { name: "default", template: "one" },
      { name: "tool_use", template: "two" },
    ];
    await change("tokenizer_config.json", { chat_template: list });
    const metadata = () => loadNative().readModelFile(folder).metadata;
    expect(metadata()).toMatchObject({
      "tokenizer.chat_template": expect.stringContaining("bos_token"),
      "tokenizer.chat_template.tool_use": "two",
    });
    await mkdir(join(folder, "additional_chat_templates"));
    await writeFile(join(folder, "additional_chat_templates", "rag.jinja"), "three");
    expect(metadata()).toMatchObject({ "tokenizer.chat_template.rag": "three" });
    await change("tokenizer_config.json", { chat_template: [{ name: "x" }] });
    await rm(join(folder, "additional_chat_templates"), { recursive: true });
    expect(metadata).toThrow(/'chat_template' in tokenizer_config.json/);
  });

  test("a tokenizer with more tokens than the model has rows is another model's", async () => {
    await copy("gemma3");
    const json = JSON.parse(await readFile(join(folder, "tokenizer.json"), "utf8"));
    for (let id = 374; id < 600; id++) json.model.vocab[`piece${id}`] = id;
    await write("tokenizer.json", json);
    await expect(loadModel(folder, exact)).rejects.toMatchObject({
      code: "MODEL_FORMAT",
      message: expect.stringContaining("the tokenizer has 600 tokens and the model 512"),
    });
  });
});
