// SPDX-License-Identifier: Apache-2.0
// Names and paths, and what is said when nothing helps.
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BatonError } from "../../src/errors.js";
import type { SourceProgress } from "../../src/model/source.js";
import { catalog, defaultCacheDir, parseName, resolveModel } from "../../src/model/source.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "baton-source-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function failure(promise: Promise<unknown>): Promise<BatonError> {
  const error = await promise.then(
    () => new Error("nothing was thrown"),
    (caught: unknown) => caught,
  );
  if (BatonError.isInstance(error)) return error as BatonError;
  throw error;
}

describe("a path", () => {
  it("is used where it lies, relative or absolute", async () => {
    const path = join(folder, "my model.gguf");
    await writeFile(path, "12345");
    const expected = { path, source: "local", bytes: 5, downloaded: false };
    expect(await resolveModel(path)).toMatchObject({ ...expected, name: path });
    expect(await resolveModel(relative(process.cwd(), path))).toMatchObject(expected);
  });

  it("that leads nowhere or to a folder is refused with what would do", async () => {
    const nowhere = await failure(resolveModel(join(folder, "none.gguf")));
    expect(nowhere.code).toBe("SOURCE_FAILED");
    expect(nowhere.message).toContain(join(folder, "none.gguf"));
    expect(nowhere.message).toContain("smollm2-135m-instruct");
    expect((await failure(resolveModel(folder))).message).toContain("is a folder");
    const below = await writeFile(join(folder, "file"), "x").then(() =>
      failure(resolveModel(join(folder, "file", "x"))),
    );
    expect(below.message).toContain("there is no file");
  });
});

describe("a name", () => {
  it("of the Hub has repository, file and revision", () => {
    expect(parseName("hf:org/repo/a/b.gguf").hub).toEqual({
      repo: "org/repo",
      file: "a/b.gguf",
      revision: "main",
    });
    expect(parseName("hf:o/r/b.gguf@refs/pr/1").hub?.revision).toBe("refs/pr/1");
  });

  it("of the Hub without a file, or with one that stands for a folder, means a whole model", () => {
    expect(parseName("hf:org/repo").hubModel).toEqual({ repo: "org/repo", revision: "main" });
    expect(parseName("hf:org/repo@v1").hubModel).toEqual({ repo: "org/repo", revision: "v1" });
    for (const file of ["model.safetensors", "sub/model.safetensors.index.json", "config.json"]) {
      expect(parseName(`hf:org/repo/${file}`)).toMatchObject({ hubModel: { repo: "org/repo", file } });
    }
  });

  it.each([
    "",
    "  ",
    "a\0b",
    "hf:",
    "hf:org",
    "hf:org/repo/",
    "hf:org/repo/../x",
    "hf:../../x",
    "hf:org/repo/a//b",
    "hf:org/repo/x@../y",
    "hf:org/repo/c:\\x",
    "hf:org/repo/model-00001-of-00003.safetensors",
  ])("%j is refused", async (name) => {
    const error = await failure(resolveModel(name));
    expect(error.code).toBe("OPTION_INVALID");
    expect(error.message).toContain(JSON.stringify(name));
  });

  it("that is no string is refused", async () => {
    expect((await failure(resolveModel(undefined as unknown as string))).code).toBe("OPTION_INVALID");
  });
});

describe("the cache folder", () => {
  it("is $BATON_CACHE, $XDG_CACHE_HOME/baton or ~/.cache/baton", () => {
    expect(defaultCacheDir({ BATON_CACHE: "/a", XDG_CACHE_HOME: "/b" })).toBe(resolve("/a"));
    expect(defaultCacheDir({ BATON_CACHE: "", XDG_CACHE_HOME: "/b" })).toBe(resolve("/b/baton"));
    expect(defaultCacheDir({})).toBe(join(homedir(), ".cache", "baton"));
  });
});

describe("the catalogue", () => {
  it("states size, hash and licence of every model, and a source", () => {
    for (const entry of catalog) {
      expect(entry.sha256).toMatch(/^[0-9a-f]{64}$/);
      expect(entry.bytes).toBeGreaterThan(0);
      expect(entry.license).not.toBe("");
      expect(entry.hub ?? entry.python).toBeDefined();
      expect(parseName(entry.name)).toBe(entry);
    }
  });

  it("has smollm2-135m-instruct, whose file has the stated hash", async () => {
    const found = await resolveModel("smollm2-135m-instruct");
    const bytes = await readFile(found.path);
    expect(bytes.length).toBe(98_362_432);
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(
      "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    );
    expect((await resolveModel("smollm2-135m-instruct")).downloaded).toBe(false);
  });

  it("lists every source with its reason when all fail", async () => {
    const env = { PATH: folder, HF_ENDPOINT: "http://127.0.0.1:1", HF_HOME: folder };
    const seen: SourceProgress[] = [];
    const onProgress = (progress: SourceProgress) => seen.push(progress);
    const error = await failure(resolveModel("smollm2-135m-instruct", { env, cacheDir: folder, onProgress }));
    expect(error.code).toBe("SOURCE_FAILED");
    expect(error.facts.name).toBe("smollm2-135m-instruct");
    const sources = error.facts.sources as string[];
    expect(sources).toHaveLength(2);
    expect(sources[0]).toMatch(/^hub: http:\/\/127\.0\.0\.1:1/);
    expect(sources[1]).toMatch(/^python: no pip was found/);
    for (const line of sources) expect(error.message).toContain(line);
    const turns = seen.filter(({ phase }) => phase !== "download");
    expect(turns.map(({ source, phase }) => `${source} ${phase}`)).toEqual([
      "hub start",
      "hub failed",
      "python start",
      "python failed",
    ]);
  });
});
