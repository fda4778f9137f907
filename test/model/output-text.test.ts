// SPDX-License-Identifier: Apache-2.0
// Streamed text against the text as a whole: whatever the borders of tokens, no character is broken and only the lead
// is missing.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { OutputText } from "../../src/model/output-text.js";

const encoder = new TextEncoder();

/** A vocabulary in which every byte is a token, and token 256 is a control token without text. */
const vocabulary = {
  bytes: Uint8Array.from({ length: 256 }, (_, byte) => byte),
  offsets: Uint32Array.from({ length: 258 }, (_, id) => Math.min(id, 256)),
};

function stream(pieces: readonly Uint8Array[], lead: string, tail = new Uint8Array()) {
  const deltas: string[] = [];
  const output = new OutputText(vocabulary, lead, (delta) => deltas.push(delta));
  for (const piece of pieces) output.push(Int32Array.from(piece));
  output.end(tail);
  return { deltas, text: output.text };
}

function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const borders = [0, ...places.map((one) => one % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return borders.slice(1).map((end, index) => bytes.subarray(borders[index], end));
}

describe("output text", () => {
  test("equals the whole text whatever the borders, without the lead, without a broken character", () => {
    const intact = (text: string) => !text.includes("\ufffd"); // which stands for a broken character below
    const texts = fc.string({ unit: "grapheme", maxLength: 20 }).filter(intact);
    fc.assert(
      fc.property(
        texts,
        fc.array(fc.nat(200)),
        fc.constantFrom("", " ", "  ", "é", "👩‍🚀"),
        fc.boolean(),
        (body, places, lead, has) => {
          const whole = (has ? lead : "") + body;
          const { deltas, text } = stream(cut(encoder.encode(whole), places), lead);
          expect(text).toBe(lead !== "" && whole.startsWith(lead) ? whole.slice(lead.length) : whole);
          expect(deltas.join("")).toBe(text);
          for (const delta of deltas) {
            expect(delta).not.toBe("");
            expect(delta).not.toContain("\uFFFD");
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("a part of the lead at the very end is text", () => {
    expect(stream([encoder.encode(" ")], "  ").text).toBe(" ");
  });

  test("the tail before a stop string completes the last character", () => {
    const euro = encoder.encode("€");
    expect(stream([encoder.encode(" 5 "), euro.subarray(0, 1)], " ", euro.subarray(1)).text).toBe("5 €");
  });

  test("bytes that never become a character give U+FFFD at the end", () => {
    expect(stream([Uint8Array.of(0x61, 0xe2)], " ").deltas).toEqual(["a", "\uFFFD"]);
  });

  test("control tokens give no text", () => {
    const output = new OutputText(vocabulary, "", () => {});
    output.push(Int32Array.of(0x61, 256, 0x62));
    output.end(new Uint8Array());
    expect(output.text).toBe("ab");
  });

  test("a byte order mark is a character like any other", () => {
    expect(stream([encoder.encode("\uFEFFa")], "").text).toBe("\uFEFFa");
  });
});
