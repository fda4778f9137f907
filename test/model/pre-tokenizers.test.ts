// SPDX-License-Identifier: Apache-2.0
// Every row of the table against the reference tokenizer, on text full of the borders where patterns differ.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { preTokenizers } from "../../src/model/pre-tokenizers.js";
import { createTokenizer } from "../../src/model/tokenizer.js";

interface Fixture {
  vocab: string[];
  merges: string[];
  lines: string[];
  ids: Record<string, number[][]>;
}

const path = new URL("../fixtures/pre-tokenizers/fixture.json", import.meta.url);
const fixture = JSON.parse(readFileSync(path, "utf8")) as Fixture;

const rows = preTokenizers.flatMap((row) => {
  const reference = row.names.find((name) => name in fixture.ids);
  return row.names.map((name) => ({ name, reference }));
});

describe("pre-tokenizers", () => {
  it.each(rows)("$name cuts as the reference does", ({ name, reference }) => {
    const expected = fixture.ids[reference ?? ""];
    expect(expected, `no fixture for ${name}: add it to make.py`).toBeDefined();
    const tokenizer = createTokenizer({
      "tokenizer.ggml.model": "gpt2",
      "tokenizer.ggml.pre": name,
      "tokenizer.ggml.tokens": fixture.vocab,
      "tokenizer.ggml.merges": fixture.merges,
    });
    const wrong: unknown[] = [];
    for (const [i, line] of fixture.lines.entries()) {
      const got = [...tokenizer.encode(line, { specials: false })];
      if (JSON.stringify(got) !== JSON.stringify(expected?.[i]))
        wrong.push({ line, got, expected: expected?.[i] });
    }
    expect(wrong).toEqual([]);
    expect(expected?.length).toBe(fixture.lines.length);
  });

  it("no two rows of different patterns agree on every line (the lines tell them apart)", () => {
    const seen = new Set(Object.values(fixture.ids).map((ids) => JSON.stringify(ids)));
    expect(seen.size).toBe(Object.keys(fixture.ids).length);
  });
});
