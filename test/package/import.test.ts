// SPDX-License-Identifier: Apache-2.0
// What importing the package costs, as the modules that it may load: few files, none of its dependencies, no addon.
// Times depend on the machine; this does not, and is what keeps them.

import { spawnSync } from "node:child_process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { packageRoot } from "../../src/native/load.js";

const root = pathToFileURL(`${packageRoot()}/`);
const hook = fileURLToPath(new URL("hooks/list.mjs", import.meta.url));

/** Everything but Node's own modules that `code` loads: files of this package relative to it, others by their package. */
function loadedBy(code: string): string[] {
  const report =
    "console.log(JSON.stringify([Object.keys(process.getBuiltinModule('node:module')._cache), process.report.getReport().sharedObjects]))";
  const args = ["--import", pathToFileURL(hook).href, "--input-type=module", "-e", `${code}; ${report}`];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: fileURLToPath(root),
    encoding: "utf8",
  });
  expect(status, stderr).toBe(0);
  const [required, libraries] = JSON.parse(stdout.split("\n").at(-2) ?? "") as [string[], string[]];
  const imported = [...stderr.matchAll(/^loads (file:.*)$/gm)].map(([, url = ""]) => fileURLToPath(url));
  const addons = libraries.filter((one) => one.endsWith(".node"));
  const names = [...imported, ...required, ...addons].map((one) =>
    one.replace(fileURLToPath(root), "").replace(/^.*node_modules\/((?:@[^/]+\/)?[^/]+)\/.*$/, "$1"),
  );
  return [...new Set(names)].filter((one) => !one.includes("[eval")).sort();
}

const chunk = /^dist\/bundle\/chunk-[A-Z0-9]+\.js$/;

describe("importing loads few files, no package and no addon", () => {
  test.each([
    ["baton-lm", "dist/bundle/index.js", false],
    ["baton-lm/ai-sdk", "dist/bundle/ai-sdk.js", false],
    ["baton-lm/server", "dist/bundle/server.js", true],
  ])("%s", (name, entry, hasVendored) => {
    const loaded = loadedBy(`await import(${JSON.stringify(name)})`);
    expect(loaded).toContain(entry);
    const others = loaded.filter((one) => one !== entry && !chunk.test(one));
    if (hasVendored) expect(others).toContain("dist/bundle/vendor/hono-node-server.js");
    expect(others.filter((one) => !hasVendored || !one.startsWith("dist/bundle/vendor/"))).toEqual([]);
    expect(loaded.filter((one) => chunk.test(one)).length).toBeLessThanOrEqual(3);
  });

  test("the list would have a package and the addon", () => {
    const code = `const { loadModel } = await import("baton-lm"); await loadModel("./no-such.gguf").catch(() => {});
      process.getBuiltinModule("node:module").createRequire(import.meta.url)("./build/Release/baton.node"); await import("commander");`;
    const loaded = loadedBy(code);
    expect(loaded).toContain("commander");
    expect(loaded).toContain("build/Release/baton.node");
  });
});

test("the program loads neither the server's packages nor the addon to say its version", () => {
  const loaded = loadedBy(`process.argv.push("baton", "--version"); await import("./dist/bundle/cli.js")`);
  expect(loaded.filter((one) => !one.startsWith("dist/bundle/"))).toEqual(["commander"]);
});
