// SPDX-License-Identifier: Apache-2.0
// Rows of tokens, as a soft prompt is initialised from them: fed as soft rows they are the tokens themselves, in every
// family (one scales its embeddings) and weight type.

import { expect, test } from "vitest";
import { OptionInvalidError } from "../../src/index.js";
import type { EngineClient } from "../../src/native/engine-client.js";
import { loadArrays, loadFacts } from "../helpers/fixtures.js";
import { firstDifference } from "./program.js";
import type { Content } from "./support.js";
import { openFamily, openTiny, plainSegment, run } from "./support.js";

const tokens = loadArrays("families").ints("tokens").subarray(0, 40);

async function logitsOf(engine: EngineClient, content: Content): Promise<Float32Array> {
  const segment = engine.createSegment({ ...plainSegment, reads: [] });
  const { logits } = await run(engine, [{ segment, content }]);
  engine.releaseSegment(segment);
  return logits;
}

async function expectSameLogits(engine: EngineClient): Promise<void> {
  const wanted = await logitsOf(engine, tokens);
  const rows = engine.tokenEmbeddings(tokens);
  expect(rows.length).toBe(tokens.length * engine.info().hidden);
  expect(wanted.length).toBe(tokens.length * engine.info().vocab);
  expect(firstDifference(await logitsOf(engine, rows), wanted)).toBe(-1);
  await engine.close();
}

for (const { file } of loadFacts<{ files: { file: string }[] }>("families").files) {
  test(`${file}: soft rows that are tokens`, async () => expectSameLogits(await openFamily(file)));
}
for (const type of ["f32", "f16", "q8_0"]) {
  test(`tiny-${type}: soft rows that are tokens`, async () => expectSameLogits(await openTiny(type)));
}

test("an id that is no token is refused with the range", async () => {
  const engine = await openTiny("f32");
  for (const id of [-1, 512]) {
    const read = () => engine.tokenEmbeddings(Int32Array.of(3, id));
    expect(read).toThrow(OptionInvalidError);
    expect(read).toThrow(`no token ${id}; the model has 0 to 511`);
  }
  expect(engine.tokenEmbeddings(new Int32Array()).length).toBe(0);
  await engine.close();
});
