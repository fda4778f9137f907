// SPDX-License-Identifier: Apache-2.0
// Model files that are damaged or hostile, through loadModel: a typed error that names the file, or a model that
// works; and no mapping, descriptor or thread stays behind.

import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BatonError, defineChain, loadModel } from "../../src/index.js";
import { eventually, failure, mappings, tinyPath } from "./support.js";

const good = readFileSync(tinyPath);
const options = { threads: 1, cacheBytes: 8 << 20 };
let folder = "";
let before = { descriptors: 0, threads: 0 };
const count = (what: string) => readdirSync(`/proc/self/${what}`).length;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "baton-files-"));
  await (await loadModel(tinyPath, options)).close(); // whatever stays for good is there now
  before = { descriptors: count("fd"), threads: count("task") };
});
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
function written(bytes: Uint8Array): string {
  const path = join(folder, `model-${files++}.gguf`);
  writeFileSync(path, bytes);
  return path;
}

/** Loads and, if that works, runs a chain: the error, or null. */
async function attempt(path: string): Promise<unknown> {
  try {
    const model = await loadModel(path, options);
    try {
      const chain = defineChain(model).input("question").stage("s", { maxTokens: 3 });
      await chain.run({ question: "Is it frozen?" }).result;
    } finally {
      await model.close();
    }
    return null;
  } catch (error) {
    return error;
  }
}

function expectTyped(error: unknown, what: string): asserts error is BatonError {
  if (!BatonError.isInstance(error)) throw new Error(`${what}: ${String(error)}`, { cause: error });
  expect(error.code, `${what}: ${error.message}`).not.toBe("INTERNAL");
}

async function expectNothingLeft(): Promise<void> {
  expect(await eventually(() => mappings(folder) === 0)).toBe(true);
  expect(await eventually(() => count("task") <= before.threads)).toBe(true);
  expect(count("fd")).toBeLessThanOrEqual(before.descriptors + 1); // reading the folder takes one
}

/** Byte offset of `text` in the good file. */
function offsetOf(text: string): number {
  const at = good.indexOf(text);
  if (at < 0) throw new Error(`${text} is not in the file`);
  return at;
}

const dataStart = offsetOf("output_norm.weight");

describe("damaged", () => {
  test("truncated at 80 places: always refused, with the path", async () => {
    for (let i = 0; i < 80; i++) {
      const length = i < 24 ? i : Math.floor((good.length * i) / 80);
      const path = written(good.subarray(0, length));
      const error = await attempt(path);
      expectTyped(error, `truncated to ${length}`);
      expect(error.code).toBe("MODEL_FORMAT");
      expect(error.message).toContain(path);
      rmSync(path);
    }
    await expectNothingLeft();
  });

  test("bits flipped in the header, 400 files: typed errors, or a model that works", async () => {
    const codes = new Map<string, number>();
    const header = dataStart + 64;
    for (let i = 0; i < 400; i++) {
      const bytes = Buffer.from(good);
      for (let flip = 0; flip <= i % 3; flip++) {
        const at = Math.floor(Math.random() * (i % 2 === 0 ? 600 : header));
        bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(Math.random() * 8));
      }
      const path = written(bytes);
      const error = await attempt(path);
      if (error !== null) {
        try {
          expectTyped(error, "flipped");
        } catch (failed) {
          writeFileSync(join(tmpdir(), "baton-flipped.gguf"), bytes); // kept, to be looked at
          throw failed;
        }
        codes.set(error.code, (codes.get(error.code) ?? 0) + 1);
      }
      rmSync(path);
    }
    expect(codes.get("MODEL_FORMAT") ?? 0).toBeGreaterThan(20);
    await expectNothingLeft();
  });

  test("bits flipped in the weights: still a model, and another one for the hash", async () => {
    const bytes = Buffer.from(good);
    bytes[good.length - 1000] = (bytes[good.length - 1000] ?? 0) ^ 0x10;
    const [one, other] = await Promise.all(
      [tinyPath, written(bytes)].map((path) => loadModel(path, options)),
    );
    expect(other?.info.contentHash).not.toBe(one?.info.contentHash);
    await Promise.all([one?.close(), other?.close()]);
  });
});

describe("no model", () => {
  const bytesOf: [string, () => Uint8Array][] = [
    ["an empty file", () => new Uint8Array()],
    ["text", () => Buffer.from("The harbour of Marsk freezes for eleven weeks a year.\n".repeat(50))],
    ["a ZIP archive", () => Buffer.concat([Buffer.from("PK\x03\x04"), Buffer.alloc(4000)])],
    ["zeros", () => new Uint8Array(100_000)],
    ["the magic alone, then noise", () => Buffer.concat([Buffer.from("GGUF"), Buffer.alloc(5000, 0xff)])],
  ];
  for (const [what, bytes] of bytesOf) {
    test(what, async () => {
      const path = written(bytes());
      const error = await attempt(path);
      expectTyped(error, what);
      expect(error.code).toBe("MODEL_FORMAT");
      expect(error.message).toContain(path);
    });
  }

  test("a folder, a FIFO, a device, a dead link, a name with NUL, a file in a file: typed, at once", async () => {
    mkdirSync(join(folder, "folder.gguf"));
    execFileSync("mkfifo", [join(folder, "fifo.gguf")]);
    symlinkSync(join(folder, "nowhere"), join(folder, "link.gguf"));
    const names = ["folder.gguf", "fifo.gguf", "link.gguf", "a\0b.gguf"].map((name) => join(folder, name));
    for (const path of [...names, "/dev/zero", "/dev/null", `${tinyPath}/x.gguf`]) {
      expectTyped(await attempt(path), JSON.stringify(path));
    }
    await expectNothingLeft();
  });
});

describe("hostile", () => {
  /** The good file with bytes changed at an offset. */
  function changed(at: number, change: (bytes: DataView) => void): string {
    const bytes = Buffer.from(good);
    change(new DataView(bytes.buffer, bytes.byteOffset + at));
    return written(bytes);
  }
  const most = 0xffff_ffff_ffff_ffffn;
  const shapeOf = (name: string) => offsetOf(name) + name.length + 4; // after the dimension count

  const cases: [string, string, () => string][] = [
    ["2^64 - 1 tensors", "MODEL_FORMAT", () => changed(8, (view) => view.setBigUint64(0, most, true))],
    [
      "2^64 - 1 metadata entries",
      "MODEL_FORMAT",
      () => changed(16, (view) => view.setBigUint64(0, most, true)),
    ],
    [
      "a key of 2^63 bytes",
      "MODEL_FORMAT",
      () => changed(24, (view) => view.setBigUint64(0, 1n << 63n, true)),
    ],
    ["version 99", "MODEL_FORMAT", () => changed(4, (view) => view.setUint32(0, 99, true))],
    [
      "a dimension of 2^62",
      "MODEL_FORMAT",
      () => changed(shapeOf("blk.0.attn_q.weight"), (view) => view.setBigUint64(0, 1n << 62n, true)),
    ],
    [
      "an unknown weight type",
      "MODEL_UNSUPPORTED",
      () => changed(shapeOf("blk.0.attn_q.weight") + 16, (view) => view.setUint32(0, 777, true)),
    ],
    [
      "an offset beyond the file",
      "MODEL_FORMAT",
      () => changed(shapeOf("blk.0.attn_q.weight") + 20, (view) => view.setBigUint64(0, 1n << 40n, true)),
    ],
    [
      "two tensors on the same bytes",
      "MODEL_FORMAT",
      () => changed(shapeOf("blk.0.attn_q.weight") + 20, (view) => view.setBigUint64(0, 0n, true)),
    ],
    [
      "a missing tensor",
      "MODEL_FORMAT",
      () => changed(offsetOf("blk.1.ffn_up.weight"), (view) => view.setUint8(4, "7".charCodeAt(0))),
    ],
    [
      "an unknown family",
      "MODEL_UNSUPPORTED",
      () =>
        changed(offsetOf("general.architecture") + 20 + 12, (view) => view.setUint8(0, "x".charCodeAt(0))),
    ],
  ];
  for (const [what, code, make] of cases) {
    test(`${what}: ${code}`, async () => {
      const error = await attempt(make());
      expectTyped(error, what);
      expect(error.code, error.message).toBe(code);
    });
  }

  test("a sparse file of 8 TB around a good header: refused at once", async () => {
    const path = written(good);
    truncateSync(path, 8 * 2 ** 40);
    const error = await failure(loadModel(path, options));
    expectTyped(error, "sparse");
    expect(error.code).toBe("OUT_OF_MEMORY");
    expect(error.facts).toMatchObject({ needed: 8 * 2 ** 40 });
    expect(Number(error.facts.free)).toBeGreaterThan(0);
    rmSync(path);
  });

  test("all of them together leave nothing behind", async () => {
    for (const [, , make] of cases) {
      const path = make();
      for (let turn = 0; turn < 5; turn++) await attempt(path);
    }
    await expectNothingLeft();
  });
});
