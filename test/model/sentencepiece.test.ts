// SPDX-License-Identifier: Apache-2.0
// SentencePiece tables out of GGUF metadata against SentencePiece's own ids: nothing added, the space in front where a
// model asks for it at frame position 0, and every text back from its ids.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BatonError } from "../../src/errors.js";
import { createTokenizer } from "../../src/model/tokenizer.js";
import { loadFacts } from "../helpers/fixtures.js";

interface Table {
  tokens: string[];
  scores: number[];
  types: number[];
  lines: { text: string; ids: number[]; decoded: string }[];
  /** The same model as tokenizer.json. */
  json?: string;
}

const facts = loadFacts<{ plain: Table; prefix: Table }>("sentencepiece-lines");

const metadataOf = ({ tokens, scores, types }: Table, more: Record<string, unknown> = {}) =>
  ({
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": tokens,
    "tokenizer.ggml.scores": scores,
    "tokenizer.ggml.token_type": types,
    "tokenizer.ggml.bos_token_id": tokens.indexOf("<s>"),
    "tokenizer.ggml.eos_token_id": tokens.indexOf("</s>"),
    ...more,
  }) as Parameters<typeof createTokenizer>[0];

const plain = createTokenizer(metadataOf(facts.plain, { "tokenizer.ggml.add_space_prefix": false }));
const prefix = createTokenizer(metadataOf(facts.prefix));

describe("200 lines against SentencePiece", () => {
  for (const [name, tokenizer, table] of [
    ["a model that adds nothing", plain, facts.plain],
    ["a model that puts a space in front", prefix, facts.prefix],
  ] as const) {
    it(`have the same ids at frame position 0: ${name}`, () => {
      expect(table.lines.length).toBe(200);
      const encode = (text: string) => [...tokenizer.encode(text, { specials: false, atZero: true })];
      expect(table.lines.map(({ text }) => encode(text))).toEqual(table.lines.map(({ ids }) => ids));
    });

    it(`come back from their ids: ${name}`, () => {
      expect(table.lines.map(({ ids }) => tokenizer.decode(ids))).toEqual(
        table.lines.map(({ decoded }) => decoded),
      );
    });
  }

  it("elsewhere nothing is added, whatever the model asks for", () => {
    for (const { text } of facts.prefix.lines) {
      const ids = prefix.encode(text, { specials: false });
      expect(prefix.decode(ids)).toBe(text.replaceAll("\u2581", " "));
      const atZero = prefix.encode(text, { specials: false, atZero: true });
      if (text !== "") expect([...atZero]).toEqual([...prefix.encode(` ${text}`, { specials: false })]);
    }
  });

  it("use merged pieces, bytes, and pieces that were named", () => {
    const used = new Set(facts.plain.lines.flatMap(({ ids }) => ids.map((id) => facts.plain.types[id])));
    expect(used).toEqual(new Set([1, 4, 6]));
  });
});

describe("a tokenizer.json with merges and byte fallback", () => {
  const json = JSON.parse(facts.prefix.json as string);
  const whole = (changes: Record<string, unknown> = {}) =>
    createTokenizer({ "tokenizer.huggingface.json": JSON.stringify({ ...json, ...changes }) });

  it("gives the same ids as the scores, and every text back", () => {
    const tokenizer = whole();
    expect(tokenizer).toMatchObject({ preTokenizer: "tokenizer.json", addSpace: true });
    for (const { text, ids, decoded } of facts.prefix.lines) {
      expect([...tokenizer.encode(text, { specials: false, atZero: true })], text).toEqual(ids);
      expect(tokenizer.decode(ids)).toBe(decoded);
    }
  });

  it("a Metaspace puts the space in front only where none is", () => {
    const metaspace = { type: "Metaspace", replacement: "\u2581", prepend_scheme: "first", split: false };
    const tokenizer = whole({ normalizer: null, pre_tokenizer: metaspace });
    const encode = (text: string, atZero: boolean) => [
      ...tokenizer.encode(text, { specials: false, atZero }),
    ];
    expect(encode("Marsk", true)).toEqual(encode(" Marsk", true));
    expect(encode(" Marsk", true)).toEqual(encode(" Marsk", false));
    const never = whole({ normalizer: null, pre_tokenizer: { ...metaspace, prepend_scheme: "never" } });
    expect(never.addSpace).toBe(false);
  });

  it.each([
    ["NFC", { normalizer: { type: "NFC" } }, "NFC"],
    ["words cut apart", { pre_tokenizer: { type: "Metaspace", replacement: "\u2581" } }, "Metaspace"],
    ["a sequence of nothing", { normalizer: { type: "Sequence" } }, "Sequence"],
    ["a merge of one piece", { model: { ...json.model, merges: ["one"] } }, "merges[0]"],
    ["neither style", { model: { ...json.model, byte_fallback: false } }, "byte fallback"],
  ])("refuses %s", (_, changes, message) => {
    expect(() => whole(changes).encode("a", { specials: false })).toThrow(message);
  });
});

describe("any text", () => {
  const anyText = fc.string({ unit: "binary", maxLength: 200 });
  const wellFormed = (text: string) => Buffer.from(text, "utf8").toString("utf8");

  it("comes back from its ids, also in pieces", () => {
    const property = fc.property(anyText, (text) => {
      const ids = plain.encode(text, { specials: false });
      const wanted = wellFormed(text).replaceAll("\u2581", " ");
      expect(plain.decode(ids)).toBe(wanted);
      const stream = plain.stream();
      const streamed = [...ids].map((id) => stream.push([id])).join("") + stream.flush();
      expect(streamed).toBe(wanted);
    });
    fc.assert(property, { numRuns: 500 });
  });

  it("never becomes a control token unless asked for", () => {
    const [bos] = [plain.specialId("<s>") as number];
    expect([...plain.encode("<s>a", { specials: false })]).not.toContain(bos);
    expect(plain.encode("<s>a", { specials: true })[0]).toBe(bos);
    expect(plain.decode(plain.encode("<s>a", { specials: false }))).toBe("<s>a");
  });
});

describe("what the metadata says of the start", () => {
  it("BOS and the space are the defaults of the format, and keys override them", () => {
    expect(prefix).toMatchObject({ addBos: true, addSpace: true, preTokenizer: "sentencepiece" });
    expect(plain.addSpace).toBe(false);
    const without = createTokenizer(metadataOf(facts.prefix, { "tokenizer.ggml.add_bos_token": false }));
    expect(without.addBos).toBe(false);
  });

  it("the space stands in front of text, not in front of a control token", () => {
    const ids = prefix.encode("<s>Marsk", { specials: true, atZero: true });
    expect([...ids]).toEqual([prefix.bosId, ...prefix.encode("Marsk", { specials: false })]);
  });
});

describe("damaged tables", () => {
  const { scores, types, tokens } = facts.plain;
  const cases: [string, Record<string, unknown>, string, string][] = [
    ["no scores", { "tokenizer.ggml.scores": undefined }, "MODEL_FORMAT", "tokenizer.ggml.scores is missing"],
    ["scores of another length", { "tokenizer.ggml.scores": scores.slice(1) }, "MODEL_FORMAT", "511 long"],
    ["a score that is no number", { "tokenizer.ggml.scores": tokens }, "MODEL_FORMAT", "scores[0]"],
    [
      "a score of NaN",
      { "tokenizer.ggml.scores": scores.map((one, i) => (i === 9 ? Number.NaN : one)) },
      "MODEL_FORMAT",
      "scores[9] is NaN",
    ],
    ["no tokens", { "tokenizer.ggml.tokens": [] }, "MODEL_FORMAT", "tokenizer.ggml.tokens is empty"],
    ["types of another length", { "tokenizer.ggml.token_type": types.slice(2) }, "MODEL_FORMAT", "510 long"],
    ["another kind", { "tokenizer.ggml.model": "t5" }, "TOKENIZER_UNSUPPORTED", '"t5"'],
  ];
  it.each(cases)("%s", (_, change, code, message) => {
    let caught: unknown;
    try {
      createTokenizer(metadataOf(facts.plain, change));
    } catch (error) {
      caught = error;
    }
    expect(BatonError.isInstance(caught)).toBe(true);
    expect((caught as BatonError).code).toBe(code);
    expect((caught as BatonError).message).toContain(message);
  });

  it("a character without bytes becomes the unknown token", () => {
    const small = createTokenizer({
      "tokenizer.ggml.model": "llama",
      "tokenizer.ggml.tokens": ["<unk>", "a", "\u2581", "\u2581a"],
      "tokenizer.ggml.scores": [0, -2, -3, -1],
      "tokenizer.ggml.token_type": [2, 1, 1, 1],
    });
    expect([...small.encode("a \u00e9a", { specials: false })]).toEqual([1, 2, 0, 1]);
    expect([...small.encode(" a", { specials: false })]).toEqual([3]);
  });
});
