// SPDX-License-Identifier: Apache-2.0
// The pictures of docs/how-it-works.md are what the chains that they are said to show look like.

import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { root } from "../../scripts/lib/run.mjs";
import { drawPictures } from "../../scripts/pictures.mjs";
import * as baton from "../../src/index.js";

const folder = path.join(root, "docs/pictures");
let model: baton.Model;

beforeAll(async () => {
  model = await baton.loadModel("smollm2-135m-instruct");
}, 300_000);

afterAll(() => model.close());

it("docs/pictures is what scripts/pictures.mjs draws, and the page shows all of it", async () => {
  const drawn = await drawPictures(baton, model);
  expect(readdirSync(folder).sort()).toEqual(Object.keys(drawn).sort());
  const page = readFileSync(path.join(root, "docs/how-it-works.md"), "utf8");
  for (const [name, svg] of Object.entries(drawn)) {
    expect(readFileSync(path.join(folder, name), "utf8"), `${name}: node scripts/pictures.mjs`).toBe(svg);
    expect(page).toContain(`](pictures/${name})`);
  }
});
