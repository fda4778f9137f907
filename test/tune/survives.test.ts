// SPDX-License-Identifier: Apache-2.0
// Whole tunings on the real engine that are killed, stopped at any moment, or out of disk: what was there stays, what is
// held is given back, and the run that goes on ends with the prompt of one that was never disturbed.
import { spawn, spawnSync } from "node:child_process";
import { closeSync, fstatSync, ftruncateSync, openSync, writeFileSync, writeSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { ensureTypeScript } from "../../scripts/lib/ensure.mjs";
import type { TuneOptions } from "../../src/index.js";
import { PromptInvalidError, PromptsUnwrittenError, tune } from "../../src/index.js";
import type { PromptContract, PromptTarget } from "../../src/model/prompt.js";
import { resolvePrompt } from "../../src/model/prompt.js";
import { openCheckpoint } from "../../src/tune/checkpoint.js";
import { exportPrompt } from "../../src/tune/export.js";
import { tinyPath, until } from "../chain/tiny-model.js";
import type { Site } from "./small-chain.js";
import { base, closers, dev, lossesOf, records, small } from "./small-chain.js";
import { failure, filesOf } from "./support.js";
import { tuningWorld } from "./world.js";

const { model, inFolder, start, collect } = tuningWorld();
const pathOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
beforeAll(() => ensureTypeScript());

const weights = "adapter_model.safetensors";

/** A prompt that was made before, which a tuning will replace when it ends. */
async function makeOlderPrompt(folder: string): Promise<Buffer> {
  const { hidden, heads, layers, contentHash } = model().info;
  const contract: PromptContract = {
    version: 1,
    base: { contentHash, weightType: "Q8_0" },
    layout: "frames",
    format: [],
    opener: [1],
    lead: " ",
    closers: [2],
    reads: [],
    own: [],
  };
  await exportPrompt(folder, {
    rows: new Float32Array(3 * hidden).fill(0.25),
    count: 3,
    model: { hidden, heads, layers },
    baseModel: "tiny",
    init: { kind: "RANDOM" },
    contract,
  });
  return readFile(join(folder, weights));
}

describe("kill -9", () => {
  const every = 3;
  const chainModule = `export default {
    model: ${JSON.stringify(tinyPath)},
    options: { threads: 1, cacheBytes: 32 << 20, activations: "float32" },
    chain: (model, { defineChain }) => defineChain(model)
      .input("question", { format: "Question: {question}\\n" })
      .input("passages")
      .stage("compress", { prompt: { text: "Shorten it." }, own: ["passages"], maxTokens: 5, closers: ${JSON.stringify(closers)} })
      .stage("answer", { reads: ["question", "compress"], opener: "Answer:", maxTokens: 5, closers: ${JSON.stringify(closers)} }),
  };\n`;
  const args = [
    "tune",
    "chain.mjs",
    "-s",
    "answer",
    "-d",
    "train.jsonl",
    "--dev",
    "dev.jsonl",
    "-o",
    "prompt",
  ];
  const settings = ["--epochs", "20", "--batch-size", "2", "--learning-rate", "0.05", "--seed", "3"];
  const how = ["--virtual-tokens", "6", "--init", "text:Answer the question.", "--frozen-folder", "frozen"];

  /** Runs `baton tune --resume`, killed after `lines` lines of its progress; the last step that it said to be done. */
  function tuneUntil(lines: number): Promise<{ last: number; killed: boolean }> {
    const call = [pathOf("../../dist/cli/main.js"), ...args, ...settings, ...how];
    const child = spawn(process.execPath, [...call, "--checkpoint-every", String(every), "--resume"], {
      cwd: inFolder(),
      stdio: ["ignore", "ignore", "pipe"],
    });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      if (said.split("\n").length > lines) child.kill("SIGKILL");
    });
    return new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (_, signal) => {
        const steps = [...said.matchAll(/^step (\d+)\//gm)].map(([, step]) => Number(step));
        resolve({ last: steps.at(-1) ?? 0, killed: signal === "SIGKILL" });
      });
    });
  }

  it("at any line of `baton tune`: at most N steps are lost, the older prompt and the checkpoint stay whole", async () => {
    const lines = (all: readonly object[]) => all.map((one) => `${JSON.stringify(one)}\n`).join("");
    await writeFile(inFolder("chain.mjs"), chainModule);
    await writeFile(inFolder("train.jsonl"), lines(records));
    await writeFile(inFolder("dev.jsonl"), lines(dev));
    const older = await makeOlderPrompt(inFolder("prompt"));
    const checkpoint = inFolder("prompt", "checkpoint.safetensors");
    let kills = 0;
    let at = 0;
    for (const count of [1, 2, 5, 9, 14, 20]) {
      const { last, killed } = await tuneUntil(count);
      if (!killed) break;
      kills += 1;
      expect((await readFile(inFolder("prompt", weights))).equals(older)).toBe(true);
      const file = await openCheckpoint(checkpoint);
      expect(file?.step ?? 0).toBeGreaterThanOrEqual(Math.max(at, last - every));
      at = file?.step ?? 0;
    }
    expect(kills).toBeGreaterThan(3);
    expect(at).toBeGreaterThan(0);
    expect(await tuneUntil(Number.POSITIVE_INFINITY)).toMatchObject({ killed: false });

    const options = {
      ...base,
      stages: small,
      dev,
      epochs: 20,
      output: inFolder("whole"),
      keep: "best",
    } as const;
    const whole = await collect(options);
    const ended = await openCheckpoint(checkpoint);
    expect(ended?.finished).toBe(true);
    expect(lossesOf(ended?.history ?? [])).toEqual(lossesOf(whole.steps));
    const made = await readFile(inFolder("prompt", weights));
    expect(made.equals(await readFile(inFolder("whole", weights)))).toBe(true);
    const left = await Promise.all(["prompt", "frozen"].map((name) => readdir(inFolder(name))));
    expect(left.flat().filter((name) => name.includes("checkpoint") && name.includes("incomplete"))).toEqual(
      [],
    );
  });

  it("while prompts are exported: files of one prompt, or no rows at all", async () => {
    const target: PromptTarget = { hidden: 4096, tokenizer: model().tokenizer };
    for (let turn = 0; turn < 8; turn++) {
      const child = spawn(process.execPath, [pathOf("children/export.mjs"), inFolder("turns")], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const ended = new Promise((resolve) => child.once("close", resolve));
      await new Promise((resolve) => child.stdout.once("data", resolve));
      child.stdout.resume();
      await new Promise((resolve) => setTimeout(resolve, 5 + 40 * Math.random()));
      child.kill("SIGKILL");
      await ended;
      const found = await resolvePrompt(inFolder("turns"), target).catch((error: unknown) => error);
      if (PromptInvalidError.isInstance(found)) {
        expect(found.message).toContain(`has no ${weights}`);
        continue;
      }
      const { rows, count, contract } = found as {
        rows: Float32Array;
        count: number;
        contract: PromptContract;
      };
      expect([rows[0], rows.at(-1), contract.lead]).toEqual([count, count, String(count)]);
    }
    await makeOlderPrompt(inFolder("turns")); // what the killed ones left goes with the next export
    expect((await readdir(inFolder("turns"))).sort()).toEqual([
      "adapter_config.json",
      weights,
      "baton_contract.json",
    ]);
  });
});

it("an abort at any call of the engine: the reason, nothing held, and the same end when it goes on", async () => {
  const checkpoint = inFolder("run.safetensors");
  const options = { ...base, stages: small, dev, epochs: 2, score: "squad", evaluateEvery: 2 } as const;
  const expected = await (await collect(options)).run.result;
  const { engine } = model();
  const counted = (onCall: () => void) => {
    const [run, train] = [engine.run.bind(engine), engine.train.bind(engine)];
    const spies = [
      vi.spyOn(engine, "run").mockImplementation((...given) => {
        onCall();
        return run(...given);
      }),
      vi.spyOn(engine, "train").mockImplementation((...given) => {
        onCall();
        return train(...given);
      }),
    ];
    return () => {
      for (const one of spies) one.mockRestore();
    };
  };
  let calls = 0;
  const stopCounting = counted(() => calls++);
  await collect(options);
  stopCounting();
  expect(calls).toBeGreaterThan(25);
  await until(() => model().stats().segments <= 1);
  const { segments, usedBytes } = model().stats(); // the compressor's prompt
  for (let at = 1; at <= calls; at += 2) {
    const controller = new AbortController();
    const reason = new Error(`stop at call ${at}`);
    let left = at;
    const before = at % 4 === 1; // the call is made, or while it goes on
    const restore = counted(() => {
      left -= 1;
      if (left !== 0) return;
      if (before) controller.abort(reason);
      else setImmediate(() => controller.abort(reason));
    });
    const error = await failure(start({ ...options, checkpoint, signal: controller.signal }).result).catch(
      () => null,
    );
    restore();
    if (before || at < calls - 8) expect(error).toBe(reason); // what goes on may end first, and with it the run
    await until(() => model().stats().segments <= segments);
    expect(model().stats()).toMatchObject({ segments, usedBytes });
    const { run } = await collect({ ...options, checkpoint, resume: true });
    const { steps, evaluations, prompts } = await run.result;
    expect(lossesOf(steps)).toEqual(lossesOf(expected.steps));
    expect(evaluations).toEqual(expected.evaluations);
    expect(prompts).toEqual(expected.prompts);
    await rm(checkpoint, { force: true });
  }
});

describe("a full disk", () => {
  /** A file system of its own, of which `fill` leaves so many bytes. */
  async function withDisk(
    skip: (why: string) => void,
    use: (disk: string, fill: (room?: number) => void) => Promise<void>,
  ): Promise<void> {
    const disk = await mkdtemp(join(tmpdir(), "baton-disk-"));
    const how = ["-t", "tmpfs", "-o", "size=512k", "tmpfs", disk];
    const mounted = spawnSync("mount", how, { encoding: "utf8" });
    if (mounted.status !== 0) {
      await rm(disk, { recursive: true });
      skip(`a tmpfs cannot be mounted here: ${mounted.error?.message ?? mounted.stderr.trim()}`);
      return;
    }
    const fill = (room = 0) => {
      const ballast = openSync(join(disk, "ballast"), "w");
      try {
        for (;;) writeSync(ballast, Buffer.alloc(4096));
      } catch (error) {
        expect((error as NodeJS.ErrnoException).code).toBe("ENOSPC");
      } finally {
        ftruncateSync(ballast, fstatSync(ballast).size - room);
        closeSync(ballast);
      }
    };
    try {
      await use(disk, fill);
    } finally {
      spawnSync("umount", [disk]);
      await rm(disk, { recursive: true, force: true });
    }
  }

  const collectFilling = async (options: TuneOptions<Site>, step: number, fill: () => void) => {
    const run = start(options);
    const read = async () => {
      for await (const one of run) if (one.step === step) fill();
    };
    return failure(read());
  };

  it("when a checkpoint is due: the one before stays, and is gone on from", (context) =>
    withDisk(context.skip, async (disk, fill) => {
      const checkpoint = join(disk, "run.safetensors");
      const options = { ...base, stages: small, checkpoint, checkpointEvery: 3 };
      const whole = await collect({ ...base, stages: small });
      const error = await collectFilling(options, 4, fill);
      expect(error).toMatchObject({ code: "IO", facts: { path: checkpoint, code: "ENOSPC" } });
      expect((error as { facts: { needed: number } }).facts.needed).toBeGreaterThan(1000);
      const step = (await openCheckpoint(checkpoint))?.step ?? 0;
      expect(step).toBeGreaterThanOrEqual(3);
      await rm(join(disk, "ballast"));
      const { run } = await collect({ ...options, resume: true });
      const result = await run.result;
      expect(result.resumedFrom).toBe(step);
      expect(lossesOf(result.steps)).toEqual(lossesOf(whole.steps));
    }));

  it("when the prompt is due: the older one stays, and the checkpoint makes the new one without a step", (context) =>
    withDisk(context.skip, async (disk, fill) => {
      const output = join(disk, "prompt");
      await makeOlderPrompt(output);
      const checkpoint = inFolder("run.safetensors"); // on another disk
      const options = { ...base, stages: small, checkpoint, output };
      const before = await filesOf(output);
      // after the last step; PEFT's configuration and the contract have room, the rows have not
      const error = await collectFilling(options, 12, () => fill(8192));
      expect(error).toMatchObject({ code: "IO", facts: { code: "ENOSPC" } });
      expect((error as Error).message).toContain(`The disk is full: ${output}`);
      expect(error).toMatchObject({ facts: { checkpoint } });
      expect(await filesOf(output)).toEqual(before);
      const elsewhere = await tune.export(checkpoint, { output: inFolder("elsewhere") });
      await rm(join(disk, "ballast"));
      const { run, steps } = await collect({ ...options, resume: true });
      expect(steps).toEqual([]);
      const { rows } = (await run.result).prompts.answer;
      expect(elsewhere.prompts.answer?.rows).toEqual(rows);
      const target = { hidden: model().info.hidden, tokenizer: model().tokenizer };
      expect((await resolvePrompt(output, target)).rows).toEqual(rows);
      expect(rows).toEqual(
        (await (await collect({ ...base, stages: small })).run.result).prompts.answer.rows,
      );
    }));

  it("when the prompt is due and nobody writes checkpoints: the error has the rows", (context) =>
    withDisk(context.skip, async (disk, fill) => {
      const output = join(disk, "prompt");
      const error = await collectFilling({ ...base, stages: small, output }, 12, () => fill(8192));
      if (!PromptsUnwrittenError.isInstance(error)) throw error;
      expect(PromptsUnwrittenError.isInstance(error.cause)).toBe(false); // an IoError like any other
      expect(error).toMatchObject({ code: "IO", facts: { code: "ENOSPC" } });
      expect(error.message).toMatch(/^The disk is full: .*`prompts` of this error/);
      const { answer } = error.prompts;
      const whole = await (await collect({ ...base, stages: small })).run.result;
      expect(answer).toEqual({ ...whole.prompts.answer, folder: null });
    }));

  it("for frozen rows: one warning, and the same losses", (context) =>
    withDisk(context.skip, async (disk, fill) => {
      const whole = await collect({ ...base, stages: small });
      const frozenFolder = join(disk, "frozen");
      await mkdir(frozenFolder);
      writeFileSync(join(frozenFolder, "other"), "");
      fill();
      const warnings: string[] = [];
      const onWarning = (message: string) => warnings.push(message);
      const options = {
        ...base,
        stages: small,
        frozenFolder,
        frozenDiskBytes: 1 << 20,
        frozenBytes: 0,
        onWarning,
      };
      const { steps } = await collect(options);
      expect(lossesOf(steps)).toEqual(lossesOf(whole.steps));
      expect(warnings).toHaveLength(1);
      expect(warnings[0]).toContain("The disk is full");
      expect(await readdir(frozenFolder)).toEqual(["other"]);
    }));
});
