// SPDX-License-Identifier: Apache-2.0
// The addon loader: what it looks at, in which order, and what it says when nothing works.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BatonError, CacheBudgetError, errorCodes, errorFromCode, InternalError } from "../../src/errors.js";
import {
  addonCandidates,
  linuxLibc,
  loadAddon,
  nativeApiVersion,
  packageRoot,
  platformTag,
  withTypedErrors,
} from "../../src/native/load.js";
import type { NativeBinding } from "../../src/native/types.js";

const require = createRequire(import.meta.url);
let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "baton-load-"));
  writeFileSync(join(folder, "broken.node"), "no shared library");
  writeFileSync(join(folder, "old.cjs"), "module.exports = { apiVersion: 0 };");
  writeFileSync(
    join(folder, "good.cjs"),
    `module.exports = { apiVersion: ${nativeApiVersion}, good: true };`,
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const file = (name: string) => ({ label: name, request: join(folder, name), file: true });

function failure(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}

describe("loader", () => {
  test("looks at the local build, then at the platform package; BATON_ADDON replaces both", () => {
    const found = addonCandidates({});
    expect(found.map((one) => one.label)).toEqual(["local build", "CUDA package", "platform package"]);
    expect(found[0]?.request).toBe(join(packageRoot() as string, "build", "Release", "baton.node"));
    expect(found[1]).toMatchObject({ request: `@baton-lm/${platformTag()}-cuda`, extra: true });
    expect(found[2]?.request).toBe(`@baton-lm/${platformTag()}`);
    expect(addonCandidates({ BATON_ADDON: "/x/y.node" })).toEqual([
      { label: "BATON_ADDON", request: "/x/y.node", file: true },
    ]);
  });

  test("passes by what is absent, broken or of another version, and takes the first that works", () => {
    const candidates = ["absent.node", "broken.node", "old.cjs", "good.cjs"].map(file);
    expect(loadAddon(candidates, require)).toMatchObject({ good: true });
  });

  test("does not load what was cut off, which would end the process", (context) => {
    context.skip(process.platform !== "linux", "other systems have no ELF files");
    const addon = readFileSync(join(packageRoot() as string, "build/Release/baton.node"));
    for (const bytes of [64, addon.length >> 1, addon.length - 1]) {
      writeFileSync(join(folder, "cut.node"), addon.subarray(0, bytes));
      expect(failure(() => loadAddon([file("cut.node")], require))).toMatchObject({
        code: "NATIVE_LOAD",
        message: expect.stringMatching(
          `cut.node: is cut off: ${bytes} of ${addon.length} bytes; remove its folder`,
        ),
      });
    }
    writeFileSync(join(folder, "cut.node"), addon.subarray(0, 63)); // no header: the system says so
    expect(failure(() => loadAddon([file("cut.node")], require))).toMatchObject({ code: "NATIVE_LOAD" });
  });

  test("lists every place with its reason, and the remedy", () => {
    const candidates = [
      ...["absent.node", "broken.node", "old.cjs"].map(file),
      { label: "platform package", request: "@baton-lm/nowhere", file: false },
    ];
    const error = failure(() => loadAddon(candidates, require)) as BatonError;
    expect(error).toMatchObject({
      code: "NATIVE_LOAD",
      facts: { platform: platformTag(), node: process.version },
    });
    const tried = error.facts.tried as string[];
    expect(tried).toHaveLength(4);
    expect(tried[0]).toMatch(/absent\.node: no such file/);
    expect(tried[1]).toMatch(/broken\.node: .*(file too short|invalid ELF|header)/);
    expect(tried[2]).toMatch(new RegExp(`interface version 0, this package needs ${nativeApiVersion}`));
    expect(tried[3]).toMatch(/Cannot find module '@baton-lm\/nowhere'/);
    for (const one of tried) expect(error.message).toContain(one);
    expect(error.message).toMatch(/To compile it run "npm run build"\.$/); // this is a checkout
  });

  test("does not tell that what few install is absent, but that it is broken", () => {
    const extra = { label: "CUDA package", request: "@baton-lm/nowhere", file: false, extra: true };
    const broken = { label: "CUDA package", request: join(folder, "broken.node"), file: false, extra: true };
    const error = failure(() => loadAddon([extra, broken], require)) as BatonError;
    expect(error.facts.tried).toHaveLength(1);
    expect((error.facts.tried as string[])[0]).toContain("broken.node");
  });

  test("tells glibc from musl by what is mapped, else by Node's report", () => {
    const never = () => {
      throw new Error("the report is asked only where the maps do not say");
    };
    const line = (file: string) => `7f00-7f01 r-xp 00000000 fe:00 42          ${file}\n`;
    const other = line("/srv/node_modules/@x/thing-linux-musl/thing.node");
    expect(linuxLibc(other + line("/usr/lib/x86_64-linux-gnu/libc.so.6"), never)).toBe("gnu");
    expect(linuxLibc(line("/lib/x86_64-linux-gnu/libc-2.28.so") + other, never)).toBe("gnu");
    expect(linuxLibc(other + line("/lib/ld-musl-x86_64.so.1"), never)).toBe("musl");
    expect(linuxLibc(line("/usr/lib/x86_64-linux-musl/libc.so"), never)).toBe("musl");
    expect(linuxLibc(line("/usr/bin/node"), () => "2.36")).toBe("gnu");
    expect(linuxLibc("", () => undefined)).toBe("musl");
    const { glibcVersionRuntime } = (process.report.getReport() as { header: Record<string, string> }).header;
    if (process.platform === "linux") {
      expect(platformTag().endsWith("-gnu")).toBe(glibcVersionRuntime !== undefined);
    }
  });
});

describe("errors of the addon", () => {
  const thrown = Object.assign(new Error("needs 4096 bytes"), {
    code: "CACHE_BUDGET",
    facts: { needed: 4096 },
  });
  const own = new TypeError("not from the addon");
  const binding = withTypedErrors({
    apiVersion: 1,
    availableThreads() {
      throw thrown;
    },
    async closeModel() {
      throw thrown;
    },
    doctor() {
      throw own;
    },
    availableMemory: () => 7,
  } as unknown as NativeBinding);

  test("become their class, thrown or rejected; others pass unchanged", async () => {
    const error = failure(() => binding.availableThreads());
    expect(CacheBudgetError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({ message: "needs 4096 bytes", facts: { needed: 4096 } });
    await expect(binding.closeModel({} as never)).rejects.toMatchObject({ name: "CacheBudgetError" });
    expect(failure(() => binding.doctor())).toBe(own);
    expect(binding.availableMemory()).toBe(7);
    expect(binding.apiVersion).toBe(1);
  });

  test("every code has its class; an unknown one is INTERNAL and keeps its code", () => {
    for (const code of errorCodes) {
      const error = errorFromCode(code, "x");
      expect(error.code).toBe(code);
      expect(error.name).not.toBe("BatonError");
      expect((error.constructor as typeof BatonError).isInstance(error)).toBe(true);
    }
    const unknown = errorFromCode("NEW_CODE", "x", { facts: { a: 1 } });
    expect(InternalError.isInstance(unknown)).toBe(true);
    expect(unknown.facts).toEqual({ a: 1, nativeCode: "NEW_CODE" });
  });

  test("isInstance tells classes apart and knows errors of another copy of the package", () => {
    const error = errorFromCode("CACHE_BUDGET", "x");
    expect(BatonError.isInstance(error)).toBe(true);
    expect(InternalError.isInstance(error)).toBe(false);
    expect(BatonError.isInstance(new Error("x"))).toBe(false);
    expect(BatonError.isInstance(null)).toBe(false);
    const marker = Object.getOwnPropertySymbols(error)[0] as symbol;
    const foreign = Object.assign(new Error("x"), {
      code: "CACHE_BUDGET",
      [Symbol.for(marker.description as string)]: true,
    });
    expect(CacheBudgetError.isInstance(foreign)).toBe(true);
  });

  test("wrong arguments to the real addon throw and do not crash", async () => {
    const { loadNative } = await import("../../src/native/load.js");
    const native = loadNative();
    for (const call of [
      () => native.readModelFile(7 as never),
      () => native.modelInfo({} as never),
      () => native.segmentInfo(null as never),
      () => native.submit({} as never, {} as never),
    ]) {
      expect(failure(call)).toBeInstanceOf(Error);
    }
  });
});
