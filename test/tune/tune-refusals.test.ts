// SPDX-License-Identifier: Apache-2.0
// What is wrong with a tuning is said before its first step; a learning rate that is too much, in the step that shows it.
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { describe, expect, it, vi } from "vitest";
import type { TuneOptions } from "../../src/index.js";
import { BatonError, loadModel, tune } from "../../src/index.js";
import { fixturePath } from "../helpers/fixtures.js";
import type { Site } from "./small-chain.js";
import { base, chainOf, dev, lossesOf, small } from "./small-chain.js";
import { failure } from "./support.js";
import { tuningWorld } from "./world.js";

const { model, inFolder, chain, start, collect } = tuningWorld();

describe("what is wrong is said before the first step", () => {
  const cases: [string, Record<string, unknown>, string, Record<string, unknown>][] = [
    ["no data", { data: [] }, "DATA_INVALID", {}],
    [
      "a record without the label of the trained stage",
      { data: [{ question: "?", compress: "x" }] },
      "DATA_INVALID",
      { field: "answer" },
    ],
    [
      "a label of no tokens",
      { data: [{ question: "?", compress: "x", answer: "" }] },
      "DATA_INVALID",
      { field: "answer" },
    ],
    [
      "a trained stage that no label depends on",
      { stages: ["answer"], labels: ["compress"] },
      "OPTION_INVALID",
      {},
    ],
    [
      "more virtual tokens than the context",
      { stages: { answer: { virtualTokens: 9999 } } },
      "OPTION_INVALID",
      { option: "virtualTokens" },
    ],
    ["an unknown option", { lerningRate: 1 }, "OPTION_INVALID", { option: "lerningRate" }],
    ["a learning rate of zero", { learningRate: 0 }, "OPTION_INVALID", { option: "learningRate" }],
    ["scores without dev data", { score: "squad" }, "OPTION_INVALID", { option: "score" }],
    ["a score of no kind", { dev, score: "bleu" }, "OPTION_INVALID", { option: "score" }],
    [
      "a dev record that the chain cannot run",
      { dev: [{ question: "?", compress: "x", answer: "y" }], score: "squad" },
      "DATA_INVALID",
      { field: "passages" },
    ],
    ["an output that is no path", { output: 7 }, "OPTION_INVALID", { option: "output" }],
  ];
  it.each(cases)("%s", async (_, change, code, facts) => {
    const run = tune(chain(), { ...base, ...change } as TuneOptions<Site>);
    const error = await failure(run.result);
    expect(error).toMatchObject({ code, facts });
    expect(BatonError.isInstance(error)).toBe(true);
  });

  it("an output folder that cannot be made", async () => {
    await writeFile(inFolder("file"), "");
    const run = start({ ...base, stages: small, output: inFolder("file", "answer") });
    expect(await failure(run.result)).toMatchObject({
      code: "IO",
      facts: { path: inFolder("file", "answer") },
    });
  });

  it("an output folder or a checkpoint where nothing can be written", async (context) => {
    if (!existsSync("/sys/kernel")) context.skip("no folder here that even root cannot write to");
    const steps = vi.spyOn(model().engine, "train");
    const folder = "/sys"; // is there, and takes no files
    const output = await failure(start({ ...base, stages: small, output: folder }).result);
    expect(output).toMatchObject({ code: "IO", facts: { path: folder } });
    expect((output as Error).message).toContain("Name another `output`");
    const absent = "/sys/baton/run.safetensors"; // not there, and cannot be made
    for (const checkpoint of [`${folder}/run.safetensors`, absent]) {
      const error = await failure(start({ ...base, stages: small, checkpoint }).result);
      expect(error).toMatchObject({ code: "IO", facts: { path: checkpoint } });
    }
    expect(steps).not.toHaveBeenCalled();
    steps.mockRestore();
  });

  it("no options at all", async () => {
    expect(await failure(tune(chain(), undefined as never).result)).toMatchObject({ code: "OPTION_INVALID" });
  });

  it("an abort", async () => {
    const reason = new Error("never mind");
    expect(await failure(start({ ...base, signal: AbortSignal.abort(reason) }).result)).toBe(reason);
  });

  it("a learning rate that makes values no numbers: step and rate are named, the checkpoint before is kept", async () => {
    const checkpoint = inFolder("run.safetensors");
    // the warm-up's first step has no rate, the second one is too much for a float
    const options = { ...base, stages: small, warmup: 2, checkpoint, checkpointEvery: 1 };
    const error = await failure(start({ ...options, learningRate: 1e39 }).result);
    expect(error).toMatchObject({
      code: "TUNING_DIVERGED",
      facts: { step: 2, learningRate: 5e38, checkpointStep: 1 },
    });
    const again = await start({ ...options, resume: true, onWarning: () => {} }).result;
    expect(again.resumedFrom).toBe(1);
    expect(lossesOf(again.steps)).toEqual(
      lossesOf((await collect({ ...base, stages: small, warmup: 2 })).steps),
    );
  });
});

it("a checkpoint of another model, or of the same one in other weights, is refused by name", async () => {
  const checkpoint = inFolder("run.safetensors");
  await collect({ ...base, stages: small, epochs: 1, checkpoint });
  const other = await loadModel(fixturePath("tiny-llama/tiny-f32.gguf"), { threads: 1, indexBytes: 0 });
  try {
    const options = { ...base, stages: small, epochs: 2, checkpoint, resume: true };
    const error = await failure(tune(chainOf(other), options).result);
    expect(error).toMatchObject({
      code: "CHECKPOINT_INVALID",
      facts: {
        path: checkpoint,
        field: "model",
        there: model().info.contentHash,
        here: other.info.contentHash,
      },
    });
    expect((error as Error).message).toContain("weightType was");
  } finally {
    await other.close();
  }
});
