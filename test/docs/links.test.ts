// SPDX-License-Identifier: Apache-2.0
// Links of pages lead somewhere, to places in pages too, and the site has every page of docs/. The site's build checks its own
// links again, those that its tools made included.

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { sourceFiles } from "../../scripts/lib/files.mjs";
import { root } from "../../scripts/lib/run.mjs";
import { anchorsOf, isLocal, mapLinks, resolveLink } from "../../site/links.mjs";
import { pages } from "../../site/pages.mjs";

const textOf = (file: string) => readFileSync(path.join(root, file), "utf8");
const markdown = sourceFiles(["docs", "examples", "prompts"], [".md"]);
const all = [...new Set([...pages.map(({ source }) => source), ...markdown, "site/home.md"])];

/** What is wrong with the links of a page. */
function faultsOf(source: string, text: string): { links: number; faults: string[] } {
  const faults: string[] = [];
  let links = 0;
  mapLinks(text, (target: string, { line }: { line: number }) => {
    if (!isLocal(target)) return target;
    links += 1;
    const { file, anchor } = resolveLink(source, target);
    const say = (what: string) => faults.push(`${source}:${line}: ${what}`);
    if (file.startsWith("..") || !existsSync(path.join(root, file))) say(`${file} is not there`);
    else if (anchor !== "" && !anchorsOf(file === source ? text : textOf(file)).includes(anchor)) {
      say(`${file} has no heading #${anchor}`);
    }
    return target;
  });
  return { links, faults };
}

describe("links of pages", () => {
  it("lead to what is there", () => {
    const found = all.map((source) => faultsOf(source, textOf(source)));
    expect(found.reduce((sum, { links }) => sum + links, 0)).toBeGreaterThan(100);
    expect(found.flatMap(({ faults }) => faults)).toEqual([]);
  });

  it("are seen where they lead nowhere, and not looked for in code", () => {
    const text = [
      "# Top",
      "[a](gone.md) [b](#top) [c](#bottom) `[d](gone.md)` [e](https://example.org/x)",
      "[![f](gone.svg)](../README.md#speed)",
      "```",
      "[g](gone.md)",
      "```",
    ].join("\n");
    expect(faultsOf("docs/server.md", text)).toEqual({
      links: 5,
      faults: [
        "docs/server.md:2: docs/gone.md is not there",
        "docs/server.md:2: docs/server.md has no heading #bottom",
        "docs/server.md:3: docs/gone.svg is not there",
      ],
    });
  });

  it("can lead to every page of docs/: the site has them all, each once", () => {
    const sources = pages.map(({ source }) => source);
    expect(new Set(sources).size).toBe(sources.length);
    expect(new Set(pages.map(({ page }) => page)).size).toBe(pages.length);
    const missing = markdown.filter((file) => file.startsWith("docs/") && !sources.includes(file));
    expect(missing).toEqual([]);
  });
});
