// SPDX-License-Identifier: Apache-2.0
// Checkpoints: going on gives the losses of a run that was never stopped, whatever stopped it; nothing that is damaged
// or belongs to another run is taken; a full disk leaves the last good one.
import { spawn, spawnSync } from "node:child_process";
import { rmdirSync, writeFileSync } from "node:fs";
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ensureTypeScript } from "../../scripts/lib/ensure.mjs";
import { BatonError, CheckpointInvalidError, IoError } from "../../src/errors.js";
import { formatSafetensors, parseSafetensors } from "../../src/model/safetensors.js";
import { openCheckpoint } from "../../src/tune/checkpoint.js";
import type { TrainOptions } from "../../src/tune/settings.js";
import { regressionItems } from "./regression.mjs";
import type { Changes } from "./support.js";
import { failure, identity, lossesOf, RegressionTask, trainRegression } from "./support.js";

const options = { epochs: 6, batchSize: 4, learningRate: 0.2, seed: 9 } as const; // 24 steps
const child = fileURLToPath(new URL("children/train.mjs", import.meta.url));

let folder: string;
let checkpoint: string;
let whole: number[];
beforeAll(async () => {
  await ensureTypeScript();
  whole = lossesOf((await trainRegression(options)).steps);
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "baton-checkpoint-"));
  checkpoint = join(folder, "run.safetensors");
  return () => rm(folder, { recursive: true, force: true });
});

/** Trains up to a step and stops there, by abort. */
async function stopAfter(step: number, given: TrainOptions, changes: Changes = {}): Promise<void> {
  const controller = new AbortController();
  const reason = new Error("enough");
  const onStep = (one: { step: number }) => one.step === step && controller.abort(reason);
  const run = trainRegression({ ...given, checkpoint }, { ...changes, signal: controller.signal, onStep });
  expect(await failure(run)).toBe(reason);
}

describe("a run that goes on", () => {
  it.each([1, 3, 4, 13, 23])("after step %i has the losses of one that never stopped", async (step) => {
    await stopAfter(step, options);
    const { result, steps } = await trainRegression({ ...options, checkpoint, resume: true });
    expect(result.resumedFrom).toBe(step);
    expect(lossesOf(steps)).toEqual(whole.slice(step));
    expect(lossesOf(result.steps)).toEqual(whole);
    expect(result.steps.map((one) => one.step)).toEqual(whole.map((_, i) => i + 1));
  });

  it("has its best values and its patience, too", async () => {
    const dev = regressionItems(20).slice(13);
    const items = regressionItems(4);
    const early = { ...options, epochs: 60, learningRate: 0.05, patience: 4 };
    const expected = (await trainRegression(early, { items, dev })).result;
    expect(expected.stopped).toBe("patience");
    await stopAfter(expected.steps.length - 2, early, { items, dev });
    const { result } = await trainRegression({ ...early, checkpoint, resume: true }, { items, dev });
    expect(result.values).toEqual(expected.values);
    expect(result.evaluations).toEqual(expected.evaluations);
    expect([result.stopped, result.valuesStep]).toEqual([expected.stopped, expected.valuesStep]);
  });

  it("begins at the start without a file, and has nothing to do after the end", async () => {
    const first = await trainRegression({ ...options, checkpoint, resume: true });
    expect(first.result.resumedFrom).toBe(0);
    const second = await trainRegression({ ...options, checkpoint, resume: true });
    expect(second.steps).toEqual([]);
    expect(second.result.resumedFrom).toBe(24);
    expect(second.result.values).toEqual(first.result.values);
    expect(lossesOf(second.result.steps)).toEqual(whole);
  });

  it("may change the learning rate, and says so", async () => {
    await stopAfter(6, options);
    const { warnings, result } = await trainRegression({
      ...options,
      learningRate: 0.1,
      checkpoint,
      resume: true,
    });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("learningRate was 0.2 and is 0.1");
    expect(lossesOf(result.steps).slice(0, 7)).toEqual(whole.slice(0, 7));
    expect(lossesOf(result.steps).slice(7)).not.toEqual(whole.slice(7));
  });
});

interface Line {
  step?: number;
  loss?: number;
  done?: boolean;
  losses?: number[];
  code?: string;
  facts?: Record<string, unknown>;
}

/** Runs the child; `kill` says after which of its lines it is killed. All lines that it printed. */
function runChild(given: TrainOptions, kill: number | null, prefix: string[] = []): Promise<Line[]> {
  const command = [...prefix, process.execPath, child, JSON.stringify(given)];
  const running = spawn(command[0] as string, command.slice(1), { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  running.stdout.on("data", (part: Buffer) => {
    text += part.toString();
    if (kill !== null && text.split("\n").length > kill) running.kill("SIGKILL");
  });
  return new Promise((resolve, reject) => {
    running.once("error", reject);
    running.once("close", () =>
      resolve(
        text
          .split("\n")
          .filter(Boolean)
          .map((line) => JSON.parse(line) as Line),
      ),
    );
  });
}

describe("a process killed with -9", () => {
  it("loses at most N steps and never the file; the run that goes on has the same losses", async () => {
    const every = 3;
    const given = { ...options, epochs: 40, checkpoint, checkpointEvery: every, resume: true }; // 160 steps
    const expected = lossesOf((await trainRegression({ ...options, epochs: 40 })).steps);
    let kills = 0;
    let at = 0;
    for (let turn = 0; turn < 6; turn++) {
      const lines = await runChild(given, 5 + 7 * turn);
      const steps = lines.flatMap(({ step }) => step ?? []);
      expect(steps[0]).toBe(at + 1);
      for (const { step, loss } of lines) {
        if (step !== undefined) expect(loss).toBe(expected[step - 1]);
      }
      if (lines.at(-1)?.done === true) break;
      kills += 1;
      const last = steps.at(-1) as number;
      const file = await openCheckpoint(checkpoint);
      expect(file).not.toBeNull();
      at = file?.step ?? 0;
      expect(last - at).toBeLessThanOrEqual(every);
      expect(at).toBeGreaterThan(0);
    }
    expect(kills).toBeGreaterThan(1);
    const end = (await runChild(given, null)).at(-1);
    expect(end?.done).toBe(true);
    expect(end?.losses).toEqual(expected);
    expect(await readdir(folder)).toEqual(["run.safetensors"]); // what killed writes left is taken away
  });
});

describe("a full disk", () => {
  const given = () => ({ ...options, epochs: 60, checkpoint, checkpointEvery: 5, resume: true }); // 240 steps

  /** The error is typed, and what was written before can be gone on from. */
  async function checkFull(code: unknown, facts: Record<string, unknown>): Promise<void> {
    expect(code).toBe("IO");
    expect(facts).toMatchObject({ path: checkpoint });
    expect(facts.needed).toBeGreaterThan(1000);
    const step = (await openCheckpoint(checkpoint))?.step as number;
    expect(step).toBeGreaterThan(0);
    expect(await readdir(join(checkpoint, ".."))).toEqual(["run.safetensors"]);
    const elsewhere = join(folder, "elsewhere.safetensors");
    await copyFile(checkpoint, elsewhere);
    const { result } = await trainRegression({ ...given(), checkpoint: elsewhere });
    expect(result.resumedFrom).toBe(step);
    expect(lossesOf(result.steps)).toEqual(
      lossesOf((await trainRegression({ ...given(), checkpoint: null, resume: false })).steps),
    );
  }

  it("seen as a limit on the size of files leaves the last good checkpoint", async (context) => {
    if (process.platform === "win32") context.skip("no ulimit");
    const lines = await runChild(given(), null, ["bash", "-c", 'ulimit -f 16; exec "$@"', "bash"]);
    const { code, facts = {} } = lines.at(-1) as Line;
    expect(facts.code).toBe("EFBIG");
    await checkFull(code, facts);
  });

  it("for real, on a file system of 48 KiB, too", async (context) => {
    const disk = await mkdtemp(join(tmpdir(), "baton-disk-"));
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=48k", "tmpfs", disk], {
      encoding: "utf8",
    });
    if (mounted.status !== 0) {
      await rm(disk, { recursive: true });
      context.skip(`a tmpfs cannot be mounted here: ${mounted.error?.message ?? mounted.stderr.trim()}`);
    }
    try {
      checkpoint = join(disk, "run.safetensors");
      const error = await failure(trainRegression(given()));
      expect(IoError.isInstance(error)).toBe(true);
      const { code, facts } = error as IoError;
      expect(facts.code).toBe("ENOSPC");
      await checkFull(code, facts);
    } finally {
      spawnSync("umount", [disk]);
      await rm(disk, { recursive: true, force: true });
    }
  });

  it("met after a cancel is a warning: the cancel stays what it was", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const warnings: string[] = [];
    const run = trainRegression(
      { ...options, checkpoint: join(folder, "later", "run.safetensors") },
      {
        signal: controller.signal,
        warnings,
        onStep: ({ step }) => {
          if (step !== 3) return;
          rmdirSync(join(folder, "later")); // made before the first step
          writeFileSync(join(folder, "later"), "a file where the folder has to be");
          controller.abort(reason);
        },
      },
    );
    expect(await failure(run)).toBe(reason);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("run.safetensors cannot be written");
  });
});

describe("a checkpoint that is refused", () => {
  async function refusal(given: TrainOptions, changes: Changes = {}): Promise<CheckpointInvalidError> {
    const error = await failure(trainRegression({ ...given, checkpoint, resume: true }, changes));
    if (CheckpointInvalidError.isInstance(error)) return error;
    throw error;
  }

  it.each([
    ["model", { identity: { ...identity, model: "m2" } }, "model was m and is m2"],
    ["chain", { identity: { ...identity, chain: "c2" } }, "chain was c and is c2"],
    ["data", { identity: { ...identity, data: "d2" } }, "data was d and is d2"],
    ["number of items", { items: regressionItems(12) }, "items was 13 and is 12"],
  ] as const)("is of another %s, and says which", async (_, changes, named) => {
    await stopAfter(2, options);
    const error = await refusal(options, changes);
    expect(error.message).toContain(named);
    expect(error.facts.path).toBe(checkpoint);
  });

  it.each([
    [{ seed: 10 }, "seed was 9 and is 10"],
    [{ batchSize: 5 }, "itemsPerStep was 4 and is 5"],
    [{ shuffle: false }, "shuffle was true and is false"],
  ])("has items in another order: %j", async (change, named) => {
    await stopAfter(2, options);
    expect((await refusal({ ...options, ...change })).message).toContain(named);
  });

  it("has another shape of prompt or another stage", async () => {
    await stopAfter(2, options);
    const wider = new RegressionTask();
    wider.parameters = wider.parameters.map((one) => ({ ...one, rows: one.rows + 1 }));
    expect((await refusal(options, { task: wider })).message).toContain("no values [5, 3]");
    const renamed = new RegressionTask();
    renamed.parameters = renamed.parameters.map((one) => ({ ...one, stage: `other-${one.stage}` }));
    expect((await refusal(options, { task: renamed })).message).toContain('stage "other-recall"');
  });

  it("has another format version", async () => {
    await stopAfter(2, options);
    const { tensors, metadata } = parseSafetensors(await readFile(checkpoint), checkpoint);
    await writeFile(checkpoint, formatSafetensors(tensors, { ...metadata, version: "3" }));
    const error = await refusal(options);
    expect(error.message).toContain("format version 3; this package reads 2");
    expect(error.facts).toMatchObject({ found: "3", version: "2" });
  });

  it("is no checkpoint at all", async () => {
    const rows = new Map([["prompt_embeddings", { shape: [1, 2], data: Float32Array.of(1, 2) }]]);
    await writeFile(checkpoint, formatSafetensors(rows));
    expect((await refusal(options)).message).toContain("is no checkpoint");
    await writeFile(checkpoint, "not at all");
    expect((await refusal(options)).message).toContain("is damaged");
    await writeFile(checkpoint, "");
    expect((await refusal(options)).message).toContain("is damaged");
  });

  it("has any bit changed or any byte cut off", async () => {
    await stopAfter(2, options);
    const good = await readFile(checkpoint);
    for (let turn = 0; turn < 200; turn++) {
      const bytes = Buffer.from(good);
      const at = (turn * 7919 + 13) % bytes.length;
      bytes[at] = (bytes[at] as number) ^ (1 << (turn % 8));
      await writeFile(checkpoint, bytes);
      const outcome = await openCheckpoint(checkpoint).catch((error: unknown) => error);
      // white space around the header's JSON is the one thing that may change
      if (BatonError.isInstance(outcome)) expect(CheckpointInvalidError.isInstance(outcome)).toBe(true);
      else expect(outcome).toMatchObject({ step: 2 });
      if (at >= good.length - 400) expect(BatonError.isInstance(outcome)).toBe(true);
    }
    await writeFile(checkpoint, good.subarray(0, good.length - 1));
    expect((await refusal(options)).message).toContain("is damaged");
  });

  it("belongs to a run that has not ended, unless it is resumed", async () => {
    await stopAfter(5, options);
    const before = await readFile(checkpoint);
    const error = await failure(trainRegression({ ...options, checkpoint }));
    expect(CheckpointInvalidError.isInstance(error)).toBe(true);
    expect((error as BatonError).facts).toMatchObject({ path: checkpoint, step: 5 });
    expect(await readFile(checkpoint)).toEqual(before);
    // one that has ended makes room
    await trainRegression({ ...options, checkpoint, resume: true });
    const { result } = await trainRegression({ ...options, checkpoint });
    expect(lossesOf(result.steps)).toEqual(whole);
  });
});
