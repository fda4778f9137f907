// SPDX-License-Identifier: Apache-2.0
// What checks the built site sees links that lead nowhere. The site itself is built and checked by `npm run docs`.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it } from "vitest";
import { checkSite } from "../../site/check.mjs";

function withSite<T>(files: Record<string, string>, use: (folder: string) => T): T {
  const folder = mkdtempSync(path.join(tmpdir(), "baton-site-"));
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
      writeFileSync(path.join(folder, name), text);
    }
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const good = {
  "index.html": '<h1 id="a&amp;b">x</h1><a href="/x/guide/one.html#top">1</a><a href="#a&amp;b">2</a>',
  "guide/one.html":
    '<h1 id="top">x</h1><a href="../">3</a><img src="/x/a.svg"><a href="https://example.org/gone">4</a>',
  "a.svg": "<svg/>",
  "llms.txt": "- [one](./guide/one.md)",
  "guide/one.md": "[home](../index.html) `[code](gone.md)`",
};

it("a site whose links lead somewhere has no faults", () => {
  const { pages, links, faults } = withSite(good, (folder) => checkSite(folder, "/x/"));
  expect({ pages, links, faults }).toEqual({ pages: 2, links: 6, faults: [] });
});

it("pages, places, pictures and Markdown that are not there are named, and paths outside of its base", () => {
  const bad = {
    ...good,
    "guide/one.html":
      '<a href="two.html">1</a><a href="../#gone">2</a><img src="/x/b.svg"><a href="/index.html">3</a>',
    "llms.txt": "- [two](./guide/two.md)",
  };
  const { faults } = withSite(bad, (folder) => checkSite(folder, "/x/"));
  expect(faults).toEqual([
    "/llms.txt leads to ./guide/two.md, which is not there",
    "/x/guide/one.html leads to /index.html, which is not there",
    "/x/guide/one.html leads to /x/#gone, a place that is not there",
    "/x/guide/one.html leads to /x/b.svg, which is not there",
    "/x/guide/one.html leads to /x/guide/two.html, which is not there",
    "/x/index.html leads to /x/guide/one.html#top, a place that is not there",
  ]);
});
