// SPDX-License-Identifier: Apache-2.0
// Where records come from: files line by line, iterables; and a file that is no longer what was checked.

import { appendFile, mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DataChangedError, DataInvalidError, IoError, OptionInvalidError } from "../../src/index.js";
import type { DataSource, RecordReader } from "../../src/tune/data.js";
import { openData } from "../../src/tune/data.js";
import { failure } from "../chain/failure.js";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "baton-data-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Takes { text }, and refuses what has none. */
const reader: RecordReader = {
  parse: (record) => ({
    texts: new Map([["text", (record as { text: string }).text]]),
    counts: new Map(),
    fields: new Map(),
    ended: new Set(),
  }),
  check: () => {},
};

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

const lines = (...texts: string[]) => texts.map((text) => `${JSON.stringify({ text })}\n`).join("");
const textsOf = async (source: DataSource) => {
  const { items } = await openData(source, "data", reader);
  return Promise.all(items.map(async (one) => [one.origin.label, (await one.read()).texts.get("text")]));
};

describe("a file", () => {
  test("is read line by line, and each record again when it is asked for", async () => {
    const long = "ä€😀".repeat(40_000); // longer than what is read at once, characters across its ends
    const content = `\ufeff${lines("one", long)}\n \t\r\n${lines("three").replace("\n", "\r\n")}{"text":"last"}`;
    expect(await textsOf(await file("good.jsonl", content))).toEqual([
      ["good.jsonl:1", "one"],
      ["good.jsonl:2", long],
      ["good.jsonl:5", "three"],
      ["good.jsonl:6", "last"],
    ]);
  });

  test("says by line what is no JSON and no UTF-8", async () => {
    expect(await failure(openData(join(folder, "none.jsonl"), "data", reader))).toBeInstanceOf(IoError);
    const path = await file("bad.jsonl", `${lines("a", "b")}{"text": }\n`);
    const error = await failure(openData(path, "data", reader));
    expect(error).toBeInstanceOf(DataInvalidError);
    expect(error.message).toContain("bad.jsonl:3 is not JSON");
    expect(error.facts).toEqual({ source: path, line: 3, field: "" });
    const latin = Buffer.from(lines("a", "\u00e4"), "latin1");
    await expect(openData(await file("latin.jsonl", latin), "data", reader)).rejects.toThrow(
      "latin.jsonl:2 is not UTF-8. Save the file as UTF-8",
    );
  });

  test("without a record is refused", async () => {
    for (const content of ["", "\n \n"]) {
      const path = await file("empty.jsonl", content);
      const error = await failure(openData(path, "data", reader));
      expect(error).toBeInstanceOf(DataInvalidError);
      expect(error.message).toContain(`${path} has no record`);
    }
  });

  test("that is a folder cannot be read", async () => {
    await expect(openData(folder, "data", reader)).rejects.toBeInstanceOf(IoError);
  });

  test("that was changed is noticed when a record is wanted, by line; one that was only touched is the same", async () => {
    const path = await file("changing.jsonl", lines("one", "two", "three"));
    const { items } = await openData(path, "data", reader);
    const later = new Date(Date.now() + 60_000);
    await utimes(path, later, later);
    for (const one of items) await one.verify();
    expect((await items[1]?.read())?.texts.get("text")).toBe("two");

    await writeFile(path, lines("one", "TWO", "three")); // as long as before
    await items[0]?.verify();
    for (const work of [items[1]?.read(), items[1]?.verify()]) {
      const error = await failure(work as Promise<unknown>);
      expect(error).toBeInstanceOf(DataChangedError);
      expect(error.facts).toEqual({ source: path, line: 2 });
      expect(error.message).toContain("changing.jsonl has changed in line 2 since it was checked");
    }
    await writeFile(path, lines("one", "two", "three"));
    await items[1]?.verify();
    await appendFile(path, lines("four"));
    await expect(items[0]?.verify()).rejects.toThrow("has changed from 47 bytes to 63 since it was checked");
    await rm(path);
    await expect(items[0]?.read()).rejects.toBeInstanceOf(IoError);
  });
});

describe("records", () => {
  const records = [{ text: "a" }, { text: "b" }];
  async function* slowly() {
    for (const one of records) yield one;
  }

  test("of any iterable are named by their place", async () => {
    const wanted = [
      ["data[0]", "a"],
      ["data[1]", "b"],
    ];
    for (const source of [records, new Set(records), slowly()]) expect(await textsOf(source)).toEqual(wanted);
  });

  test("equal ones have equal hashes wherever they come from; others have others", async () => {
    const hashOf = async (source: DataSource) => (await openData(source, "data", reader)).hash;
    const wanted = await hashOf(records);
    expect(await hashOf(await file("same.jsonl", lines("a", "b")))).toBe(wanted);
    expect(await hashOf([...records].reverse())).not.toBe(wanted);
    expect(await hashOf([{ text: "ab" }])).not.toBe(wanted);
  });

  test("none are refused, and what is no iterable", async () => {
    await expect(openData([], "dev", reader)).rejects.toThrow("`dev` has no record");
    for (const source of [4, null, { text: "a" }]) {
      const error = await failure(openData(source as never, "data", reader));
      expect(error).toBeInstanceOf(OptionInvalidError);
    }
  });

  test("an iterable that fails is heard, and an abort ends the reading", async () => {
    async function* failing() {
      yield records[0];
      throw new RangeError("no more");
    }
    await expect(openData(failing(), "data", reader)).rejects.toBeInstanceOf(RangeError);
    const controller = new AbortController();
    async function* endless() {
      for (let at = 0; ; at++) {
        if (at === 10) controller.abort("enough");
        yield { text: String(at) };
      }
    }
    await expect(openData(endless(), "data", reader, controller.signal)).rejects.toBe("enough");
    const path = await file("aborted.jsonl", lines(...Array.from({ length: 1000 }, String)));
    const aborting = new AbortController();
    const check = () => aborting.abort("stop");
    await expect(openData(path, "data", { ...reader, check }, aborting.signal)).rejects.toBe("stop");
  });
});
