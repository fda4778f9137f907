// SPDX-License-Identifier: Apache-2.0
// Snapshots of something else, and headers that somebody wrote by hand: told by the field, believed in nothing.

import { describe, expect, test } from "vitest";
import type { LoadOptions } from "../../src/index.js";
import { settled } from "../chain/tiny-model.js";
import { bytesOf, failure, load, reheaded, written } from "./snapshot-support.js";

describe("what is not KV of this model", () => {
  const cases: [string, LoadOptions, string][] = [
    ["another KV type", { kvType: "int8" }, "kvType"],
    ["other arithmetic", { activations: "float32" }, "arithmetic"],
  ];
  test.each(cases)("%s", async (_name, options, field) => {
    const bytes = await bytesOf((await written(await load())).snapshotStream());
    const model = await load(options);
    const error = await failure(model.cache.restore(bytes));
    expect(error.code).toBe("KV_MISMATCH");
    expect(error.facts.field).toBe(field);
    expect(error.facts.expected).not.toBe(error.facts.found);
    expect(model.stats().usedBytes).toBe(0);
  });

  test("another model, tokenizer or release, by what its header says", async () => {
    const model = await load();
    const handle = await written(model);
    const bytes = await bytesOf(handle.snapshotStream());
    const tell = async (change: (header: Record<string, Record<string, unknown>>) => void) =>
      failure(model.cache.restore(await reheaded(model, bytes, change)));
    for (const field of ["version", "model", "weightType", "tokenizer", "layers"]) {
      const error = await tell((header) => {
        (header.binding as Record<string, unknown>)[field] = "another";
      });
      expect([error.code, error.facts.field, error.facts.found]).toEqual(["KV_MISMATCH", field, "another"]);
    }
    const version = Uint8Array.from(bytes);
    version[7] = "2".charCodeAt(0);
    expect((await failure(model.cache.restore(version))).facts.field).toBe("format");
  });
});

describe("a header that somebody wrote", () => {
  test("is checked, number by number", async () => {
    const model = await load();
    const handle = await written(model);
    const bytes = await bytesOf(handle.snapshotStream());
    handle.close();
    type Header = { of: unknown; segments: Record<string, unknown>[]; rows: unknown; state: unknown };
    const changes: ((header: Header) => void)[] = [];
    for (const value of [-1, 0, 1.5, 1e9, 2 ** 53, "16", null, Number.MAX_VALUE]) {
      for (const field of ["rows", "start"]) {
        changes.push((header) => {
          const entry = header.segments[1];
          if (entry?.[field] !== value && entry !== undefined) entry[field] = value;
        });
      }
      changes.push((header) => {
        header.rows = value;
      });
    }
    changes.push(
      (header) => header.segments.pop(),
      (header) => header.segments.push(header.segments[0] ?? {}),
      (header) => header.segments.reverse(),
      (header) => Object.assign(header.segments[0] ?? {}, { kind: "other" }),
      (header) => Object.assign(header, { segments: {} }),
      (header) => Object.assign(header, { state: null }),
    );
    for (const change of changes) {
      const error = await failure(model.cache.restore(await reheaded(model, bytes, change)));
      expect(["SNAPSHOT_INVALID"]).toContain(error.code);
    }
    const restored = await model.cache.restore(await reheaded(model, bytes, () => {}));
    restored.close();
    await settled(model);
    expect(model.stats().usedBytes).toBe(0);
  });
});
