// SPDX-License-Identifier: Apache-2.0
import path from "node:path";
import { describe, expect, it } from "vitest";
import { importsOf, includesOf, nativeFault, tsFault } from "./support/order.js";
import { codeFiles, textOf } from "./support/tree.js";

const resolve = (from: string, to: string): string => path.posix.join(path.posix.dirname(from), to);

describe("order of dependencies", () => {
  it("holds in native/", () => {
    const files = codeFiles(["native"]);
    expect(files.length).toBeGreaterThan(10);
    const faults = files.flatMap((file) =>
      includesOf(textOf(file)).flatMap(({ target, line }) => {
        const fault = nativeFault(file.split("/")[1] ?? "", target);
        return fault ? [`${file}:${line}: ${target}: ${fault}`] : [];
      }),
    );
    expect(faults).toEqual([]);
  });

  it("holds in src/", () => {
    const files = codeFiles(["src"]);
    expect(files.length).toBeGreaterThan(5);
    const faults = files.flatMap((file) =>
      importsOf(textOf(file)).flatMap(({ target, line }) => {
        const fault = tsFault(file, target, resolve);
        return fault ? [`${file}:${line}: ${target}: ${fault}`] : [];
      }),
    );
    expect(faults).toEqual([]);
  });

  it("is found broken in samples that break it", () => {
    expect(includesOf('#include "engine/batch.h"\n#include <vector>\n  # include <napi.h>')).toEqual([
      { target: "engine/batch.h", line: 1 },
      { target: "napi.h", line: 3 },
    ]);
    expect(nativeFault("cache", "engine/batch.h")).toContain("cache comes before engine");
    expect(nativeFault("engine", "napi.h")).toContain("only native/binding");
    expect(nativeFault("base", "error.h")).toContain("from native/");
    expect(nativeFault("model", "../base/error.h")).toContain("from native/");
    expect(nativeFault("cuda", "engine/batch.h")).toContain("cuda sees");
    expect(nativeFault("engine", "cache/pool.h")).toBeUndefined();
    expect(nativeFault("device", "cuda/api.h")).toBeUndefined();
    expect(nativeFault("engine", "cuda/attention.h")).toBeUndefined();
    expect(nativeFault("model", "cuda/attention.h")).toContain("cuda is not in the order");
    expect(nativeFault("device", "cuda/memory.h")).toContain("cuda is not in the order");
    expect(nativeFault("engine", "cuda/api.h")).toContain("cuda is not in the order");

    const text =
      'import { a } from "../chain/plan.js";\nexport type { B } from "./b.js";\nawait import("./c.js");';
    expect(importsOf(text).map(({ target }) => target)).toEqual(["../chain/plan.js", "./b.js", "./c.js"]);
    expect(tsFault("src/model/x.ts", "../chain/plan.js", resolve)).toContain("model comes before chain");
    expect(tsFault("src/cli/x.ts", "../serve/y.js", resolve)).toContain("siblings");
    expect(tsFault("src/cli/commands/x.ts", "../../serve/index.js", resolve)).toBeUndefined();
    expect(tsFault("src/model/x.ts", "./y", resolve)).toContain("ends in .js");
    expect(tsFault("src/model/x.ts", "../../scripts/lib/run.js", resolve)).toContain("outside");
    expect(tsFault("src/chain/x.ts", "../model/y.js", resolve)).toBeUndefined();
  });
});
