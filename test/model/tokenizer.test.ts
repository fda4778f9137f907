// SPDX-License-Identifier: Apache-2.0
// The tokenizer of the default model against the reference's ids, and what must hold for any text.
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { BatonError } from "../../src/errors.js";
import { resolveModel } from "../../src/model/source.js";
import type { Tokenizer } from "../../src/model/tokenizer.js";
import { createTokenizer } from "../../src/model/tokenizer.js";
import type { MetadataValue } from "../../src/native/types.js";
import { fixturePath, loadFacts } from "../helpers/fixtures.js";
import { readMetadata } from "./metadata.js";

interface Line {
  text: string;
  /** Control tokens parsed. */
  ids: number[];
  decoded: string;
  lossy: boolean;
  /** Control tokens as text, where it differs. */
  plain?: number[];
  plainDecoded?: string;
}

const { lines, missingBytes } = loadFacts<{ lines: Line[]; missingBytes: number[] }>("tokenizer-lines");

let metadata: Record<string, MetadataValue>;
let tokenizer: Tokenizer;

beforeAll(async () => {
  const { path } = await resolveModel("smollm2-135m-instruct");
  metadata = readMetadata(path);
  tokenizer = createTokenizer(metadata);
});

const missing = new Set(missingBytes);
const isRepresentable = (text: string) => !new TextEncoder().encode(text).some((byte) => missing.has(byte));
/** Lone surrogates as U+FFFD, as UTF-8 has them. */
const wellFormed = (text: string) => Buffer.from(text, "utf8").toString("utf8");
/** Any Unicode text that the vocabulary has bytes for. */
const anyText = fc.string({ unit: "binary", maxLength: 200 }).filter(isRepresentable);

function thrownBy(action: () => unknown): BatonError {
  try {
    action();
  } catch (error) {
    if (BatonError.isInstance(error)) return error as BatonError;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("the reference's 200 lines", () => {
  it("are 200", () => expect(lines.length).toBe(200));

  it("have the same ids with control tokens", () => {
    const got = lines.map(({ text }) => [...tokenizer.encode(text, { specials: true })]);
    expect(got).toEqual(lines.map(({ ids }) => ids));
  });

  it("have the same ids with control tokens as plain text", () => {
    const got = lines.map(({ text }) => [...tokenizer.encode(text, { specials: false })]);
    expect(got).toEqual(lines.map(({ ids, plain }) => plain ?? ids));
    expect(lines.filter(({ plain }) => plain !== undefined).length).toBeGreaterThan(10);
  });

  it("decode to themselves unless the vocabulary lacks a byte", () => {
    for (const { text, ids, plain, lossy, plainDecoded, decoded } of lines) {
      const back = tokenizer.decode(plain ?? ids);
      expect(back).toBe(plainDecoded ?? decoded);
      if (!lossy) expect(back).toBe(text);
    }
  });
});

describe("any text", () => {
  it("comes back from its ids", () => {
    const property = fc.property(anyText, (text) => {
      expect(tokenizer.decode(tokenizer.encode(text, { specials: false }))).toBe(wellFormed(text));
    });
    fc.assert(property, { numRuns: 1000 });
  });

  it("gives the same text in one piece and streamed in any cut, never ending inside a character", () => {
    const cuts = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1 });
    const property = fc.property(anyText, cuts, (text, sizes) => {
      const ids = tokenizer.encode(text, { specials: false });
      const stream = tokenizer.stream();
      let streamed = "";
      for (let at = 0, turn = 0; at < ids.length; turn++) {
        const size = sizes[turn % sizes.length] as number;
        const piece = stream.push(ids.subarray(at, at + size));
        expect(piece).not.toMatch(/\p{Surrogate}/u);
        if (!text.includes("\ufffd")) expect(piece).not.toContain("\ufffd");
        streamed += piece;
        at += size;
      }
      streamed += stream.flush();
      expect(streamed).toBe(wellFormed(text));
    });
    fc.assert(property, { numRuns: 500 });
  });

  it("streams any ids as it decodes them, broken characters included", () => {
    const ids = fc.array(fc.integer({ min: 0, max: 49151 }), { maxLength: 60 });
    const property = fc.property(ids, (some) => {
      const stream = tokenizer.stream();
      const streamed = some.map((id) => stream.push([id])).join("") + stream.flush();
      expect(streamed).toBe(tokenizer.decode(some));
    });
    fc.assert(property, { numRuns: 1000 });
  });

  it("has no control token unless asked, whatever it spells", () => {
    const names = [
      "<|im_start|>",
      "<|im_end|>",
      "<|endoftext|>",
      "<repo_name>",
      "<|im_",
      "start|>",
      "a",
      " ",
    ];
    const property = fc.property(fc.array(fc.constantFrom(...names), { maxLength: 8 }), (parts) => {
      const text = parts.join("");
      const plain = tokenizer.encode(text, { specials: false });
      expect(plain.every((id) => id > 16)).toBe(true);
      const guarded = tokenizer.encode(tokenizer.guard(text, "\ue000"), { specials: true, mark: "\ue000" });
      expect(guarded).toEqual(plain);
    });
    fc.assert(property, { numRuns: 500 });
  });
});

describe("tokens", () => {
  it("have bytes that add up to the text, control tokens none", () => {
    const { bytes, offsets } = tokenizer.tokenBytes();
    expect(offsets.length).toBe(tokenizer.size + 1);
    expect(offsets[tokenizer.size]).toBe(bytes.length);
    for (let id = 0; id <= 16; id++) expect(offsets[id + 1]).toBe(offsets[id]);
    const text = "naïve 🙂 text";
    const ids = tokenizer.encode(text, { specials: false });
    const joined = [...ids].flatMap((id) => [...bytes.subarray(offsets[id], offsets[id + 1])]);
    expect(Buffer.from(joined).toString("utf8")).toBe(text);
  });

  it("are named: BOS, closers with EOS first, newline, specials", () => {
    expect(tokenizer.bosId).toBe(1);
    expect(tokenizer.addBos).toBe(false);
    expect(tokenizer.closers).toEqual([2, 0]);
    expect(tokenizer.newlineId).toBe(198);
    expect(tokenizer.tokenName(2)).toBe("<|im_end|>");
    expect(tokenizer.specialId("<|im_start|>")).toBe(1);
    expect(tokenizer.specialId("the")).toBeNull();
    expect(tokenizer.preTokenizer).toBe("smollm");
  });

  it("outside the vocabulary are an error that names id and size", () => {
    const error = thrownBy(() => tokenizer.decode([5, 49152]));
    expect(error.code).toBe("OPTION_INVALID");
    expect(error.message).toContain("49152");
    expect(error.facts).toMatchObject({ id: 49152, index: 1, vocab: 49152 });
  });

  it("keep a byte order mark", () => {
    const ids = tokenizer.encode("\ufeffa", { specials: false });
    expect(tokenizer.decode(ids)).toBe("\ufeffa");
    const stream = tokenizer.stream();
    expect([...ids].map((id) => stream.push([id])).join("") + stream.flush()).toBe("\ufeffa");
  });
});

describe("damaged and unknown tokenizers", () => {
  const cases: [string, Record<string, MetadataValue | undefined>, string, string][] = [
    ["another kind", { "tokenizer.ggml.model": "t5" }, "TOKENIZER_UNSUPPORTED", '"t5"'],
    ["no kind", { "tokenizer.ggml.model": undefined }, "TOKENIZER_UNSUPPORTED", "missing"],
    ["an unknown pre", { "tokenizer.ggml.pre": "whatever" }, "TOKENIZER_UNSUPPORTED", '"whatever"'],
    ["no pre", { "tokenizer.ggml.pre": undefined }, "TOKENIZER_UNSUPPORTED", "tokenizer.ggml.pre"],
    [
      "the pre that means nobody knew",
      { "tokenizer.ggml.pre": "default" },
      "TOKENIZER_UNSUPPORTED",
      "default",
    ],
    ["no tokens", { "tokenizer.ggml.tokens": undefined }, "MODEL_FORMAT", "tokenizer.ggml.tokens"],
    ["empty tokens", { "tokenizer.ggml.tokens": [] }, "MODEL_FORMAT", "empty"],
    ["a token that is a number", { "tokenizer.ggml.tokens": ["a", 3] }, "MODEL_FORMAT", "tokens[1]"],
    ["types of another length", { "tokenizer.ggml.token_type": [1, 1] }, "MODEL_FORMAT", "2 long"],
    ["no merges", { "tokenizer.ggml.merges": undefined }, "MODEL_FORMAT", "merges"],
    ["a merge of one piece", { "tokenizer.ggml.merges": ["ab"] }, "MODEL_FORMAT", "merges[0]"],
    ["EOS outside", { "tokenizer.ggml.eos_token_id": 49152 }, "MODEL_FORMAT", "49152"],
    ["BOS as text", { "tokenizer.ggml.bos_token_id": "one" }, "MODEL_FORMAT", "bos_token_id"],
    ["add_bos as a number", { "tokenizer.ggml.add_bos_token": 1 }, "MODEL_FORMAT", "add_bos_token"],
    [
      "a tokenizer.json that is none",
      { "tokenizer.huggingface.json": "{" },
      "TOKENIZER_UNSUPPORTED",
      "not JSON",
    ],
    [
      "a unigram tokenizer.json",
      { "tokenizer.huggingface.json": '{"model":{"type":"Unigram"}}' },
      "TOKENIZER_UNSUPPORTED",
      "Unigram",
    ],
  ];
  it.each(cases)("%s", (_, change, code, named) => {
    const changed: Record<string, MetadataValue | undefined> = { ...metadata, ...change };
    for (const key of Object.keys(changed)) if (changed[key] === undefined) delete changed[key];
    const error = thrownBy(() => createTokenizer(changed as Record<string, MetadataValue>));
    expect(error.code).toBe(code);
    expect(error.message).toContain(named);
  });

  it("no BOS is null and never added", () => {
    const { "tokenizer.ggml.bos_token_id": _, ...rest } = metadata;
    const without = createTokenizer({ ...rest, "tokenizer.ggml.add_bos_token": true });
    expect(without.bosId).toBeNull();
    expect(without.addBos).toBe(false);
  });
});

describe("other files", () => {
  it("the random tiny model's ids", () => {
    interface Facts {
      tokenizer: { text: string; ids: number[] }[];
    }
    const tiny = createTokenizer(readMetadata(fixturePath("tiny-llama/tiny-f32.gguf")));
    const cases = loadFacts<Facts>("tiny-llama").tokenizer;
    expect(cases.map(({ text }) => [...tiny.encode(text, { specials: true })])).toEqual(
      cases.map(({ ids }) => ids),
    );
    expect(cases.length).toBeGreaterThan(0);
  });

  it("a whole tokenizer.json inside the file gives the same ids as the tables", () => {
    const tokens = metadata["tokenizer.ggml.tokens"] as string[];
    const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
    const json = {
      added_tokens: tokens
        .slice(0, 17)
        .map((content, id) => ({ id, content, special: true, normalized: false })),
      normalizer: null,
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [
          { type: "Split", pattern: { Regex: "\\p{N}" }, behavior: "Isolated", invert: false },
          bytes,
        ],
      },
      post_processor: null,
      decoder: bytes,
      model: {
        type: "BPE",
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        merges: metadata["tokenizer.ggml.merges"],
      },
    };
    const whole = createTokenizer({
      "tokenizer.huggingface.json": JSON.stringify(json),
      "tokenizer.ggml.eos_token_id": 2,
    });
    for (const { text, ids } of lines.slice(0, 60)) {
      expect([...whole.encode(text, { specials: true })], text).toEqual(ids);
    }
    expect(whole.decode(whole.encode("a <|im_end|> b", { specials: false }))).toBe("a <|im_end|> b");
    expect(whole.closers).toEqual([2, 0]);
  });

  it("user-defined tokens are matched in plain text, and a token may be called __proto__", () => {
    const letters = ["_", "p", "r", "o", "t", "__", "pro", "to", "__proto__", "<tag>", "Ġ"];
    const made = createTokenizer({
      "tokenizer.ggml.model": "gpt2",
      "tokenizer.ggml.pre": "llama-bpe",
      "tokenizer.ggml.tokens": letters,
      "tokenizer.ggml.token_type": letters.map((token) => (token === "<tag>" ? 4 : 1)),
      "tokenizer.ggml.merges": ["_ _", "p r", "pr o"],
    });
    expect([...made.encode("__ <tag>to", { specials: false })]).toEqual([5, 10, 9, 7]);
    expect(made.tokenName(8)).toBe("__proto__");
    expect(made.decode([9])).toBe("<tag>");
    expect(made.specialId("<tag>")).toBe(9);
  });
});
