// SPDX-License-Identifier: Apache-2.0
// What goes into the package of other packages: named with its licence, and no dependency besides.

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { build } from "esbuild";
import { describe, expect, it } from "vitest";
import { reachable } from "../../scripts/lib/cjs.mjs";
import { root } from "../../scripts/lib/run.mjs";
import { vendorBuild, vendored, vendorImports } from "../../scripts/lib/vendor.mjs";

const manifest = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
const served = path.join(root, "dist/serve");
const packageOf = (file: string) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1];

describe("vendored packages", () => {
  it("are all that the server imports but Node's and the library's own, and none is a dependency", () => {
    const imported = [...vendorImports(served).keys()];
    expect(imported.length).toBeGreaterThan(3);
    expect(imported.map((one) => packageOf(`node_modules/${one}`))).toEqual(
      imported.map(() => expect.toSatisfy((name) => vendored.includes(name))),
    );
    for (const name of vendored) {
      expect(manifest.dependencies).not.toHaveProperty([name]);
      expect(manifest.devDependencies).toHaveProperty([name]);
    }
  });

  it("have their licences in THIRD_PARTY.md, what they need themselves included", async () => {
    const options = { bundle: true, splitting: true, format: "esm", platform: "node" } as const;
    const { metafile } = await build({
      ...{ ...options, absWorkingDir: root, outdir: "unwritten", write: false, metafile: true },
      ...vendorBuild(served),
    });
    const inside = new Set(Object.keys(metafile.inputs).flatMap((file) => packageOf(file) ?? []));
    const [, section = ""] = readFileSync(path.join(root, "THIRD_PARTY.md"), "utf8").split(
      "## In the server of the base package",
    );
    const rows = [
      ...(section.split("\n## ")[0] ?? "").matchAll(/^\| ([@\w].*?) +\| (?:MIT|Apache-2\.0), /gm),
    ];
    const listed = rows.flatMap(([, names = ""]) => names.split(", "));
    expect(listed.sort()).toEqual([...inside].sort());
  });

  it("are in no public declaration, and neither is any other package that is no dependency", () => {
    const files = reachable(
      ["dist/index.d.ts", "dist/ai-sdk/index.d.ts", "dist/serve/index.d.ts"].map((one) =>
        path.join(root, one),
      ),
    );
    const specifiers = files.flatMap((file) =>
      [...readFileSync(file, "utf8").matchAll(/(?:from|import\() ?"([^".][^"]*)"/g)].map(
        ([, one = ""]) => one,
      ),
    );
    const others = specifiers.filter((one) => !one.startsWith("node:"));
    expect(
      others.filter((one) => !((packageOf(`node_modules/${one}`) as string) in manifest.dependencies)),
    ).toEqual([]);
    expect(existsSync(path.join(root, "dist/bundle/vendor"))).toBe(true);
  });
});
