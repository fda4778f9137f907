// SPDX-License-Identifier: Apache-2.0
// The reader takes what PEFT writes and refuses everything else with a typed error: never a crash, never a guess.
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PromptInvalidError } from "../../src/errors.js";
import { formatSafetensors, parseSafetensors } from "../../src/model/safetensors.js";
import { fixturePath, readSafetensors } from "../helpers/fixtures.js";

/** A file with any header and `dataBytes` zeros. */
function build(header: unknown, dataBytes = 0): Uint8Array {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(dataBytes)]);
}

function refusal(bytes: Uint8Array): string {
  try {
    parseSafetensors(bytes, "x.safetensors");
  } catch (error) {
    if (PromptInvalidError.isInstance(error)) return error.message;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("safetensors", () => {
  it("reads a PEFT file as the strict fixture reader does", () => {
    const bytes = readFileSync(fixturePath("fthss-chain/p-a/adapter_model.safetensors"));
    const { tensors, metadata } = parseSafetensors(bytes, "p-a");
    const expected = readSafetensors(bytes, "p-a").matrix("prompt_embeddings");
    const tensor = tensors.get("prompt_embeddings");
    expect(metadata).toEqual({ format: "pt" });
    expect(tensor?.dtype).toBe("F32");
    expect(tensor?.shape).toEqual([expected.rows, expected.columns]);
    expect(tensor?.data).toEqual(expected.data);
  });

  it("writes what it reads, bit for bit", () => {
    const shapes = fc.tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 7 }));
    const names = fc.uniqueArray(
      fc.string({ minLength: 1 }).filter((name) => name !== "__metadata__" && name !== "__proto__"),
      {
        maxLength: 4,
      },
    );
    const property = fc.property(
      names,
      shapes,
      fc.infiniteStream(fc.float()),
      (some, [rows, columns], values) => {
        const made = some.map((name) => {
          const data = Float32Array.from({ length: rows * columns }, () => values.next().value);
          return [name, { shape: [rows, columns], data }] as const;
        });
        const back = parseSafetensors(formatSafetensors(new Map(made)), "round trip");
        expect([...back.tensors.keys()].sort()).toEqual([...some].sort());
        for (const [name, { shape, data }] of made) {
          const tensor = back.tensors.get(name);
          expect(tensor?.shape).toEqual(shape);
          const bits = (numbers: Float32Array | undefined) => new Uint32Array(numbers?.slice().buffer ?? []);
          expect(bits(tensor?.data)).toEqual(bits(data));
        }
      },
    );
    fc.assert(property, { numRuns: 200 });
  });

  it("widens F16 and BF16 exactly", () => {
    const halves = [0x3c00, 0xc000, 0x0001, 0x03ff, 0x0400, 0x7bff, 0x7c00, 0x8000];
    const bytes = Buffer.from(build({ x: { dtype: "F16", shape: [8], data_offsets: [0, 16] } }, 16));
    for (const [i, half] of halves.entries()) bytes.writeUInt16LE(half, bytes.length - 16 + 2 * i);
    const f16 = parseSafetensors(bytes, "f16").tensors.get("x")?.data;
    expect([...(f16 ?? [])]).toEqual([
      1,
      -2,
      2 ** -24,
      1023 * 2 ** -24,
      2 ** -14,
      65504,
      Number.POSITIVE_INFINITY,
      -0,
    ]);
    const brain = Buffer.from(build({ x: { dtype: "BF16", shape: [2], data_offsets: [0, 4] } }, 4));
    brain.writeUInt16LE(0x3f80, brain.length - 4);
    brain.writeUInt16LE(0xc049, brain.length - 2);
    expect([...(parseSafetensors(brain, "bf16").tensors.get("x")?.data ?? [])]).toEqual([1, -3.140625]);
  });

  const f32 = (shape: unknown, offsets: unknown) => ({ dtype: "F32", shape, data_offsets: offsets });
  const hostile: [string, Uint8Array, string][] = [
    ["nothing", new Uint8Array(0), "0 bytes"],
    ["half a length", new Uint8Array(7), "7 bytes"],
    ["a header longer than the file", Buffer.from("ff00000000000000", "hex"), "header of 255"],
    ["a header of 2^64 - 1 bytes", Buffer.from("ffffffffffffffff7b7d", "hex"), "18446744073709551615"],
    ["a header that is not JSON", build("{"), "not JSON"],
    ["a header that is not UTF-8", Buffer.from("0200000000000000c328", "hex"), "not JSON"],
    ["a header that is a list", build([]), "not a JSON object"],
    ["metadata that are numbers", build({ __metadata__: { a: 1 } }), "metadata"],
    ["a tensor that is null", build({ x: null }), "without a description"],
    ["an integer type", build({ x: { dtype: "I64", shape: [1], data_offsets: [0, 8] } }, 8), "I64"],
    [
      "a type of Object.prototype",
      build({ x: { dtype: "toString", shape: [1], data_offsets: [0, 4] } }, 4),
      "toString",
    ],
    ["a negative size", build({ x: f32([-1], [0, 4]) }, 4), "[-1]"],
    ["a broken size", build({ x: f32([1.5], [0, 6]) }, 6), "[1.5]"],
    ["a huge size", build({ x: f32([2 ** 40, 2 ** 40], [0, 4]) }, 4), "4 bytes"],
    ["offsets backwards", build({ x: f32([1], [4, 0]) }, 4), "4 to 0"],
    ["offsets outside", build({ x: f32([1], [0, 4]) }, 3), "0 to 4 of 3"],
    ["one offset", build({ x: f32([1], [0]) }, 4), "offsets [0]"],
    ["a size that does not fit", build({ x: f32([2], [0, 4]) }, 4), "4 bytes, not 8"],
    ["tensors that overlap", build({ a: f32([2], [0, 8]), b: f32([2], [4, 12]) }, 12), "overlapping"],
    ["a hole", build({ a: f32([1], [0, 4]), b: f32([1], [8, 12]) }, 12), "4 unused bytes"],
    ["bytes left over", build({ a: f32([1], [0, 4]) }, 9), "5 bytes after"],
  ];
  it.each(hostile)("refuses %s", (_, bytes, named) => {
    const message = refusal(bytes);
    expect(message).toContain("x.safetensors");
    expect(message).toContain(named);
    expect(message).toContain("Save the file again");
  });

  it("survives any mutation of a good file: a result or a typed error", () => {
    const good = formatSafetensors(
      new Map([["prompt_embeddings", { shape: [2, 3], data: new Float32Array(6) }]]),
    );
    const change = fc.record({ at: fc.nat(good.length - 1), to: fc.integer({ min: 0, max: 255 }) });
    const cut = fc.option(fc.nat(good.length));
    let refused = 0;
    const property = fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), cut, (changes, length) => {
      const bytes = good.slice(0, length ?? good.length);
      for (const { at, to } of changes) if (at < bytes.length) bytes[at] = to;
      try {
        parseSafetensors(bytes, "mutated");
      } catch (error) {
        refused++;
        expect(PromptInvalidError.isInstance(error)).toBe(true);
      }
    });
    fc.assert(property, { numRuns: 5000 });
    expect(refused).toBeGreaterThan(1000);
  });
});
