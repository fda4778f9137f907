// SPDX-License-Identifier: Apache-2.0
// A model's file that somebody removes or cuts while the model is open. Removed, nothing changes: the mapping keeps it.
// Cut, what is computed with lost bytes is a typed error, never an answer, and never the end of the process.

import { copyFileSync, mkdtempSync, readdirSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BatonError, defineChain, IoError, loadModel, type Model } from "../../src/index.js";
import { fixturePath } from "../helpers/fixtures.js";
import { failure, settled, tinyPath } from "./support.js";

const options = { threads: 2, cacheBytes: 8 << 20, indexBytes: 0 };
let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "baton-lost-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let copies = 0;
function copyOf(path: string): string {
  const to = join(folder, `model-${copies++}.gguf`);
  copyFileSync(path, to);
  return to;
}

async function answer(model: Model, question = "How long does the harbour freeze?"): Promise<string> {
  const chain = defineChain(model).input("question").stage("s", { maxTokens: 20, temperature: 0.7, seed: 3 });
  return (await chain.run({ question }).result).s.text;
}

describe.each([
  ["quantised weights, packed when it is opened", tinyPath],
  ["float weights, read in place", fixturePath("tiny-llama/tiny-f32.gguf")],
])("%s", (_, path) => {
  test("removed: the same answers", async () => {
    const copy = copyOf(path);
    const model = await loadModel(copy, options);
    const before = await answer(model);
    rmSync(copy);
    expect(await answer(model)).toBe(before);
    await model.close();
  });

  test("cut to nothing: IO with the path for every run, the model beside it goes on, and all is given back", async () => {
    const copy = copyOf(path);
    const [model, beside] = await Promise.all([loadModel(copy, options), loadModel(path, options)]);
    const before = await answer(beside);
    truncateSync(copy, 0);
    for (let turn = 0; turn < 3; turn++) {
      const error = await failure(answer(model));
      if (!IoError.isInstance(error)) throw error;
      expect(error.facts.path).toBe(copy);
      expect(error.message).toContain("has become shorter");
    }
    expect(await settled(() => model.stats())).toMatchObject({ blocksUsed: 0, segments: 0 });
    expect(await answer(beside)).toBe(before);
    await Promise.all([model.close(), beside.close()]);
  });

  test("cut while runs are in flight, 10 times: each ends with its answer or with IO", async () => {
    for (let turn = 0; turn < 10; turn++) {
      const copy = copyOf(path);
      const model = await loadModel(copy, options);
      const runs = Array.from({ length: 4 }, (_, index) => answer(model, `Question ${index}?`));
      const cut = setTimeout(() => truncateSync(copy, 4096), Math.random() * 6);
      for (const outcome of await Promise.allSettled(runs)) {
        if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "IO" });
      }
      await model.close();
      clearTimeout(cut); // it may not have come to it
      rmSync(copy);
    }
  });
});

test("cut while it is being opened, 30 times: a model, or a typed error; no descriptor stays", async () => {
  const before = readdirSync("/proc/self/fd").length;
  for (let turn = 0; turn < 30; turn++) {
    const copy = copyOf(tinyPath);
    const opening = loadModel(copy, options);
    const cut = () => truncateSync(copy, 1000 * (turn % 20));
    let timer: NodeJS.Timeout | undefined;
    if (turn % 3 === 0) queueMicrotask(cut);
    else timer = setTimeout(cut, Math.random() * 4);
    const [outcome] = await Promise.allSettled([opening]);
    if (outcome.status === "fulfilled") await outcome.value.close();
    else if (!BatonError.isInstance(outcome.reason)) throw outcome.reason;
    else expect(["IO", "MODEL_FORMAT"]).toContain(outcome.reason.code);
    clearTimeout(timer); // the load may be faster
    rmSync(copy);
  }
  expect(readdirSync("/proc/self/fd").length).toBeLessThanOrEqual(before + 1);
});
