// SPDX-License-Identifier: Apache-2.0
// Prompts out of checkpoints: those of a stopped run are what tune() would have written had it ended there, for one
// stage and for several, and they serve without a warning.
import { writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import type { TunedPrompt, TuneOptions } from "../../src/index.js";
import { tune } from "../../src/index.js";
import type { Site } from "./small-chain.js";
import { base, dev, records, small } from "./small-chain.js";
import { failure, filesOf } from "./support.js";
import { tuningWorld } from "./world.js";

const { inFolder, chain, start, collect } = tuningWorld();

/** Tunes until a step is done, and stops there; the checkpoint is then of this step. */
async function stopAfter(step: number, options: TuneOptions<Site>): Promise<void> {
  const controller = new AbortController();
  const run = start({ ...options, signal: controller.signal });
  const read = async () => {
    for await (const one of run) if (one.step === step) controller.abort(new Error("enough"));
  };
  expect(((await failure(read())) as Error).message).toBe("enough");
}

const unchanging = { ...base, schedule: "constant", warmup: 0 } as const; // however many epochs there are

describe("a checkpoint of a run that was stopped", () => {
  it("gives the files of a run that ended there", async () => {
    const checkpoint = inFolder("run.safetensors");
    await collect({ ...unchanging, stages: small, epochs: 2, output: inFolder("ended") }); // 6 steps
    // a checkpoint is written by the abort, after the step that saw it
    const long = { ...unchanging, stages: small, epochs: 50, checkpoint, checkpointEvery: 6 };
    await stopAfter(8, long);
    const later = await tune.export(checkpoint);
    expect(later.finished).toBe(false);
    expect(later.step).toBeGreaterThanOrEqual(8);
    expect(later.steps).toHaveLength(later.step);
    expect(later.prompts.answer?.folder).toBeNull();
    await collect({
      ...unchanging,
      stages: small,
      epochs: Math.ceil(later.step / 3),
      checkpoint,
      resume: true,
      onWarning: () => {},
    });
    const ended = await tune.export(checkpoint, { output: inFolder("taken") });
    expect(ended.finished).toBe(true);
    const whole = await collect({
      ...unchanging,
      stages: small,
      epochs: ended.step / 3,
      output: inFolder("whole"),
    });
    expect(await filesOf(inFolder("taken"))).toEqual(await filesOf(inFolder("whole")));
    expect(ended.prompts.answer).toEqual({
      ...(await whole.run.result).prompts.answer,
      folder: inFolder("taken"),
    });
    expect(await filesOf(inFolder("taken"))).not.toEqual(await filesOf(inFolder("ended")));
  });

  it("gives several stages folders of their own; each contract names the other's prompt as it then was", async () => {
    const stages = { compress: { virtualTokens: 4 }, answer: { virtualTokens: 5, init: "random" as const } };
    const checkpoint = inFolder("run.safetensors");
    // what is learned is wrong for these dev data: the best values are not the last ones
    const other = records.map((one) => ({ ...one, answer: "%#%#%#%#%#%#" }));
    const options = { ...unchanging, stages, dev: other, checkpoint, baseModel: "org/base" };
    const { run } = await collect({ ...options, epochs: 2, keep: "last", output: inFolder("both") });
    const { prompts } = await run.result;
    const last = await tune.export(checkpoint, { output: inFolder("last"), keep: "last" });
    for (const stage of ["compress", "answer"] as const) {
      expect(await filesOf(inFolder("last", stage))).toEqual(await filesOf(inFolder("both", stage)));
      expect(last.prompts[stage]).toEqual({ ...prompts[stage], folder: inFolder("last", stage) });
    }
    const ruin = { ...options, epochs: 5, learningRate: 0.3, resume: true, onWarning: () => {} };
    await collect({ ...ruin, output: inFolder("best") });
    const best = await tune.export(checkpoint, { output: inFolder("again") });
    expect(best.step).toBeLessThan(15);
    for (const stage of ["compress", "answer"]) {
      expect(await filesOf(inFolder("again", stage))).toEqual(await filesOf(inFolder("best", stage)));
    }
    const ruined = await tune.export(checkpoint, { keep: "last" });
    expect(ruined.step).toBe(15);
    const writerOf = (one: TunedPrompt | undefined) =>
      one?.contract.reads.find(({ kind }) => kind === "output")?.prompt;
    expect(writerOf(ruined.prompts.answer)).toMatch(/^[0-9a-f]{64}$/);
    expect(writerOf(ruined.prompts.answer)).not.toBe(writerOf(best.prompts.answer));
  });

  it("that has evaluated nothing but its first values gives the last ones", async () => {
    const checkpoint = inFolder("run.safetensors");
    await stopAfter(1, { ...unchanging, stages: small, dev, epochs: 50, batchSize: 1, checkpoint });
    const { step, evaluations } = await tune.export(checkpoint);
    expect(evaluations.map((one) => one.step)).toEqual([0]);
    expect(step).toBeGreaterThan(0);
    expect((await tune.export(checkpoint, { keep: "best" })).step).toBe(0);
  });

  it("serves without a warning", async () => {
    const checkpoint = inFolder("run.safetensors");
    await stopAfter(2, { ...unchanging, stages: small, epochs: 50, checkpoint });
    await tune.export(checkpoint, { output: inFolder("prompt") });
    const warnings: string[] = [];
    const run = chain()
      .withPrompts({ answer: inFolder("prompt") })
      .run({ question: "Who?", passages: "Ada built it." });
    for await (const event of run) if (event.type === "warning") warnings.push(event.message);
    expect(warnings).toEqual([]);
  });
});

describe("what cannot be exported", () => {
  it("is named", async () => {
    const absent = inFolder("absent.safetensors");
    expect(await failure(tune.export(absent))).toMatchObject({ code: "IO", facts: { path: absent } });
    await writeFile(inFolder("other"), "not a checkpoint");
    expect(await failure(tune.export(inFolder("other")))).toMatchObject({ code: "CHECKPOINT_INVALID" });
    const checkpoint = inFolder("run.safetensors");
    await collect({ ...base, stages: small, epochs: 1, checkpoint });
    expect(await failure(tune.export(checkpoint, { keep: "best" }))).toMatchObject({
      code: "CHECKPOINT_INVALID",
      facts: { step: 3 },
    });
    for (const [option, value] of [
      ["keep", "worst"],
      ["output", ""],
    ]) {
      const error = await failure(tune.export(checkpoint, { [option as string]: value }));
      expect(error).toMatchObject({ code: "OPTION_INVALID", facts: { option } });
    }
    expect(await failure(tune.export(""))).toMatchObject({ code: "OPTION_INVALID" });
    const blocked = await failure(tune.export(checkpoint, { output: inFolder("other", "prompt") }));
    expect(blocked).toMatchObject({ code: "IO" });
  });
});
