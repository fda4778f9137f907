// SPDX-License-Identifier: Apache-2.0
// Rows of inputs and openers: nothing is added but BOS at frame position 0, never twice, and only a format, an opener
// or a closer can name a special token.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { closerIds, inputTokens, openerTokens } from "../../src/chain/tokens.js";
import type { Tokenizer } from "../../src/model/tokenizer.js";
import { createTokenizer } from "../../src/model/tokenizer.js";
import { loadNative } from "../../src/native/load.js";
import { question, tinyPath } from "./tiny-model.js";

const { metadata } = loadNative().readModelFile(tinyPath);
const plain = createTokenizer(metadata);
const withBos = createTokenizer({ ...metadata, "tokenizer.ggml.add_bos_token": true });
const { "tokenizer.ggml.bos_token_id": _, ...noBosMetadata } = metadata;
const noBos = createTokenizer(noBosMetadata);

const im = (name: string) => plain.specialId(`<|im_${name}|>`) as number;
const encode = (text: string) => [...plain.encode(text, { specials: false })];
const raw = { format: null, alone: false };
const input = (tokenizer: Tokenizer, value: string, atZero: boolean, format: string | null = null) => [
  ...inputTokens(tokenizer, "q", { format, alone: false }, value, atZero),
];

describe("inputs", () => {
  test("BOS stands at frame position 0 only, only when the tokenizer asks, and once", () => {
    expect(input(plain, question, true)).toEqual(encode(question));
    expect(input(withBos, question, true)).toEqual([im("start"), ...encode(question)]);
    expect(input(withBos, question, false)).toEqual(encode(question));
    expect(input(withBos, "hi", true, "<|im_start|>{q}")).toEqual([im("start"), ...encode("hi")]);
  });

  test("the value and plain text around it are one run; special tokens of the format stand by themselves", () => {
    const format = "<|im_start|>user\nQuestion: {q}?<|im_end|>\n";
    expect(input(plain, "why", false, format)).toEqual([
      im("start"),
      ...encode("user\nQuestion: why?"),
      im("end"),
      ...encode("\n"),
    ]);
    expect(input(plain, "a", false, "{q}{q} {q}")).toEqual(encode("aa a"));
    expect(input(plain, "$& {q} $1", false, "<{q}>")).toEqual(encode("<$& {q} $1>"));
  });

  test("no value gives a special token, whatever stands around it", () => {
    const pieces = fc.array(
      fc.constantFrom("<|im_start|>", "<|im_end|>", "<|im_", "end|>", "<|", "|>", "start", "x", " ", "\n"),
      { minLength: 1, maxLength: 6 },
    );
    const formats = fc.constantFrom("{q}", "<|im_{q}", "{q}|>", "<|im_end|>{q}<|im_end|>", "<|{q}|>");
    fc.assert(
      fc.property(pieces, formats, (parts, format) => {
        const ids = input(plain, parts.join(""), false, format);
        const named = format.split("<|im_end|>").length - 1;
        expect(ids.filter((id) => plain.tokenName(id).startsWith("<|im_")).length).toBe(named);
        expect(plain.decode(ids)).toBe(
          format.replaceAll("<|im_end|>", "").replaceAll("{q}", () => parts.join("")),
        );
      }),
      { numRuns: 500 },
    );
  });

  test("empty values are refused even inside a format", () => {
    for (const format of [null, "Question: {q}"]) {
      expect(() => inputTokens(plain, "q", { format, alone: false }, "", false)).toThrow(
        /Input "q" is empty/,
      );
    }
    expect(inputTokens(plain, "q", raw, " ", false).length).toBe(1);
  });
});

describe("openers", () => {
  const opener = (tokenizer: Tokenizer, text: string | null, hasOwn: boolean, atZero: boolean) => [
    ...openerTokens(tokenizer, "s", text, hasOwn, atZero),
  ];

  test("the default is BOS, else a newline, else an error that asks for one; none with own inputs", () => {
    expect(opener(plain, null, false, false)).toEqual([im("start")]);
    expect(opener(noBos, null, false, false)).toEqual(encode("\n"));
    expect(opener(plain, null, true, false)).toEqual([]);
    const neither = Object.create(noBos, { newlineId: { value: null } }) as Tokenizer;
    expect(() => opener(neither, null, false, false)).toThrow(
      expect.objectContaining({ code: "CHAIN_INVALID", facts: { step: "s" } }),
    );
  });

  test("may name special tokens; BOS is not doubled at frame position 0", () => {
    expect(opener(plain, "<|im_start|>assistant\n", true, false)).toEqual([
      im("start"),
      ...encode("assistant\n"),
    ]);
    expect(opener(withBos, "Answer:", false, true)).toEqual([im("start"), ...encode("Answer:")]);
    expect(opener(withBos, "<|im_start|>assistant\n", false, true)).toEqual([
      im("start"),
      ...encode("assistant\n"),
    ]);
    expect(opener(withBos, null, false, true)).toEqual([im("start")]);
    expect(opener(withBos, "", true, true)).toEqual([]);
  });
});

test("closers are the tokenizer's own or those named", () => {
  expect([...closerIds(plain, "s", null)]).toEqual([...plain.closers]);
  expect([...closerIds(plain, "s", ["<|im_start|>"])]).toEqual([im("start")]);
  expect(() => closerIds(plain, "s", ["\n"])).toThrow(expect.objectContaining({ code: "OPTION_INVALID" }));
});
