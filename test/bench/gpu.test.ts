// SPDX-License-Identifier: Apache-2.0
// What a run on a GPU leaves and what is made of it; the script itself, with programs that stand for those of a GPU.
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { stagesChain, trainingChains } from "../../bench/chains/synthetic.js";
import { readRunFiles } from "../../bench/gpu/files.js";
import { readRun } from "../../bench/gpu/lines.js";
import { failureTable, figureTable, targetTable } from "../../bench/gpu/tables.js";
import { ceiling, judge, type Ref, targets } from "../../bench/gpu/targets.js";
import { makePage, shares } from "../../bench/gpu-page/page.js";
import { writeModel } from "../../bench/models/model-files.js";
import { shapes } from "../../bench/models/shapes.js";
import { checkReport } from "../../bench/runner/report.js";
import { measureBatch } from "../../bench/subjects/batch.js";
import { measureChains } from "../../bench/subjects/chains/measure.js";
import { sharedPlayer } from "../../bench/subjects/chains/players.js";
import { measureTraining } from "../../bench/subjects/train.js";
import { workloads } from "../../bench/workloads/index.js";
import { loadModel } from "../../src/index.js";

const root = path.resolve(import.meta.dirname, "../..");
const isOurs = ({ subject = "baton" }: Ref): boolean => subject === "baton";
const device = { suite: "machine", device: "NVIDIA H100 80GB HBM3", capability: 90 };
const kernel = (name: string, subject: string, us: number, more: Record<string, unknown> = {}) => ({
  ...{ suite: "kernels", case: name, subject, us, min: us * 0.9, max: us * 1.1 },
  ...{ samples: 30, bytes: 0, flops: 0, timing: "graph", ...more },
});
const text = (...lines: unknown[]) => `${lines.map((line) => JSON.stringify(line)).join("\n")}\n`;

describe("lines of a run on a GPU", () => {
  it("are one figure for a case that was measured twice, with the span of both", () => {
    const run = readRun(
      text(
        device,
        kernel("copy", "baton", 100, { bytes: 3e8 }),
        kernel("copy", "baton", 200, { bytes: 3e8 }),
      ),
    );
    expect(run.device).toBe(device.device);
    const [time, bandwidth] = run.figures;
    expect(time).toMatchObject({ metric: "time", unit: "us", median: 150, min: 90 });
    expect(time?.max).toBeCloseTo(220);
    expect(bandwidth).toMatchObject({ metric: "bandwidth", unit: "TB/s", median: 2 });
  });

  it("leave out tiny runs, and half a line at the end of a run that was killed", () => {
    const run = readRun(`${text(kernel("copy", "baton", 9, { tiny: true }))}{"suite":"kern`);
    expect(run.figures).toEqual([]);
  });

  it("keep what a case could not do", () => {
    const run = readRun(text({ suite: "kernels", case: "copy", subject: "torch", failed: "out of memory" }));
    expect(run.failures).toEqual([{ case: "copy", subject: "torch", why: "out of memory" }]);
    expect(failureTable(run)).toContain("out of memory");
  });
});

describe("targets of a GPU", () => {
  const outcomeOf = (what: string, run: ReturnType<typeof readRun>) =>
    judge(run).find((one) => one.target.what === what);
  const copy = kernel("copy", "torch", 1000, { bytes: 3e9 });

  it("are not measured, each with the reason, where there is no GPU", () => {
    const verdicts = judge(readRun(""));
    expect(verdicts).toHaveLength(targets.length);
    expect(new Set(verdicts.map((one) => one.outcome))).toEqual(new Set(["not measured"]));
    expect(verdicts.every((one) => one.why === "no GPU yet")).toBe(true);
  });

  it("are shares of the best ceiling that anybody reached", () => {
    const run = readRun(
      text(
        device,
        copy,
        kernel("copy", "baton", 1200, { bytes: 3e9 }),
        kernel("attend decode 252 MB", "baton", 100, { bytes: 2.7e8 }),
        kernel("attend decode 31 MB", "baton", 100, { bytes: 3e7 }),
      ),
    );
    expect(ceiling(run, "copy")).toMatchObject({ subject: "torch", median: 3 });
    const met = outcomeOf("attention of decode, 252 MB of KV", run);
    expect(met?.outcome).toBe("met");
    expect(met?.value).toBeCloseTo(0.9);
    expect(outcomeOf("attention of decode, 31 MB of KV", run)?.outcome).toBe("missed");
    expect(shares(run).find((one) => one.name === "attend decode 252 MB")?.share).toBeCloseTo(0.9);
  });

  it("are factors over a peer's time, in whatever units both were taken", () => {
    const report = checkReport({
      ...{ machine: { cpu: "x", cores: 1, kernel: "x", node: "x" }, date: "2026-11-22T00:00:00Z" },
      ...{ commit: "x", settings: { model: "m", threads: 1, device: "cuda", quick: true }, subjects: {} },
      results: [
        {
          ...{ workload: "gpu-handover-8192-llama3-8b-BF16", subject: "baton", metric: "first-token" },
          ...{ unit: "ms", median: 10, min: 9, max: 11, n: 1, disturbed: 0 },
        },
      ],
      unmeasured: [{ workload: "gpu-train-llama3-8b-BF16", subject: "baton", why: "refused" }],
    });
    const peer = kernel("handover 8k llama3-8b", "torch re-prefill", 400_000);
    const run = readRun(text(device, peer), [report]);
    const again = judge(run).find((one) => one.target.what.startsWith("hand-over"));
    expect(again).toMatchObject({ outcome: "met" });
    expect(again?.value).toBeCloseTo(40);
    const step = judge(run).find((one) => one.target.what.startsWith("a step of prompt tuning"));
    expect(step).toMatchObject({ outcome: "not measured", why: "baton: refused" });
  });

  it("that name a device are missed or met on that one only", () => {
    const prefill = kernel("attend prefill d128", "baton", 1000, { flops: 2e11 });
    const what = "attention of a prefill over a long list, heads of 128";
    expect(outcomeOf(what, readRun(text(device, prefill)))?.outcome).toBe("missed");
    expect(outcomeOf(what, readRun(text({ ...device, device: "A100" }, prefill)))?.outcome).toBe(
      "another device",
    );
  });

  it("name cases that there are", () => {
    const given = JSON.parse(readFileSync(path.join(root, "bench/gpu/shapes.json"), "utf8"));
    const names = [...given.attention, ...given.backward].map((one: { name: string }) => one.name);
    names.push(...given.append.rows.map((rows: number) => `append x${rows}`));
    for (const trunk of given.sharing.trunks) {
      for (const readers of given.sharing.readers) {
        const name = `attend ${trunk} shared by ${readers}`;
        names.push(name, `${name}, apart`);
      }
    }
    for (const { of, than } of targets) {
      for (const one of [of, than]) {
        if (typeof one !== "object" || !isOurs(one) || one.case.startsWith("gpu-")) continue;
        expect(names).toContain(one.case);
      }
    }
  });

  it("are against cases that the peers have", (context) => {
    const listed = spawnSync("python3", [path.join(root, "bench/gpu/peers.py"), "--list"], {
      encoding: "utf8",
    });
    if (listed.error !== undefined) return context.skip("there is no python3 to run the peers' list with");
    const names = listed.stdout.trim().split("\n");
    for (const { than } of targets) {
      if (typeof than === "object" && !isOurs(than)) expect(names).toContain(than.case);
    }
    expect(names).toEqual(expect.arrayContaining(["copy", "gemm bf16"]));
  });

  it("have peers whose models have the shapes that ours have", () => {
    const given = JSON.parse(readFileSync(path.join(root, "bench/gpu/shapes.json"), "utf8"));
    for (const [name, shape] of Object.entries(given.models))
      expect(shapes[name as keyof typeof shapes]).toMatchObject(shape as object);
  });
});

describe("docs/gpu.md", () => {
  it("says that nothing was measured where nothing was", () => {
    const { markdown, pictures } = makePage(readRun(""), []);
    expect(markdown).toContain("Nothing was measured on a GPU yet");
    expect(markdown).toContain("not measured: no GPU yet");
    expect(markdown).not.toContain("## All figures");
    expect(pictures.size).toBe(0);
  });

  it("is what the committed figures make", () => {
    const folder = path.join(root, "bench/results");
    const files = readdirSync(folder).filter((name) => /-gpu\b.*\.jsonl?$/.test(name));
    const run = readRunFiles(files.map((name) => path.join(folder, name)));
    const { markdown } = makePage(
      run,
      files.map((name) => `bench/results/${name}`),
    );
    expect(readFileSync(path.join(root, "docs/gpu.md"), "utf8")).toBe(markdown);
  });

  it("has figures, shares and their picture where there are some", () => {
    const run = readRun(
      text(
        device,
        kernel("copy", "baton", 1000, { bytes: 3e9 }),
        kernel("append x2048", "baton", 50, { bytes: 1e8 }),
      ),
    );
    const { markdown, pictures } = makePage(run, ["bench/results/x.jsonl"]);
    expect(markdown).toContain("Device: NVIDIA H100");
    expect(figureTable(run)).toContain("67 %");
    expect(targetTable(run)).toContain("append of 2048 rows");
    expect(pictures.get("shares.svg")).toContain("append x2048");
  });
});

describe("bench/gpu/run.sh", () => {
  let folder = "";
  const place = (name: string, script: string) => {
    const file = path.join(folder, "bin", name);
    writeFileSync(file, `#!/bin/bash\n${script}\n`);
    chmodSync(file, 0o755);
  };
  const script = () => path.join(folder, "bench/gpu/run.sh");
  let file = "";
  const lines = () => readFileSync(file, "utf8");

  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), "baton-gpu-"));
    file = path.join(folder, "out/lines.jsonl");
    for (const name of ["bin", "bench/gpu", "out"]) mkdirSync(path.join(folder, name), { recursive: true });
    copyFileSync(path.join(root, "bench/gpu/run.sh"), script());
    place("baton_gpu_tests", "exit 0");
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("ends with 3 and says why where there is no device", () => {
    place("baton_gpu_bench", 'echo "no CUDA device: no driver" >&2\nexit 3');
    const done = spawnSync("bash", [script(), path.join(folder, "out")], { encoding: "utf8" });
    expect(done.stdout).toContain("no CUDA device: no driver");
    expect(done.stdout).toContain("done, results are in");
    expect(done.status).toBe(3);
    expect(readRun(lines()).notes.at(-1)).toMatchObject({ state: "no device" });
  });

  it("ends with 2 where nothing was built", () => {
    rmSync(path.join(folder, "bin/baton_gpu_tests"));
    const done = spawnSync("bash", [script(), path.join(folder, "out")], { encoding: "utf8" });
    expect(done.stdout).toContain("npm run cuda:build");
    expect(done.status).toBe(2);
  });

  it("tells what there is when it is stopped", async () => {
    // Appends to the file behind --out, then never ends.
    place("baton_gpu_bench", 'echo \'{"suite":"kernels","case":"copy"}\' >>"$4"\nsleep 60');
    const child = spawn("bash", [script(), path.join(folder, "out")]);
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => {
      output += part;
    });
    const ended = new Promise((resolve) => child.on("close", resolve));
    while (child.exitCode === null && !(existsSync(file) && lines().includes('"case"')))
      await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill("SIGTERM");
    const status = await ended;
    expect(status).toBe(143);
    expect(output).toContain("done, results are in");
    expect(lines()).toContain('"case":"copy"');
  });
});

describe("the suite gpu", () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "baton-gpu-suite-"));
  const file = path.join(folder, "tiny.gguf");
  const chainsFile = path.join(folder, "chains.json");
  const settings = { model: file, threads: 1, device: "cpu", chains: chainsFile };
  const shape = {
    ...{ layers: 2, hidden: 64, ffn: 192, heads: 4, kvHeads: 2, headDim: 32 },
    ...{ vocab: 32_768, contextLength: 512, ropeTheta: 10_000 },
  };
  const sources = async () => {
    const model = await loadModel(file, { device: "cpu", threads: 1 });
    const { tokenizer } = model;
    await model.close();
    return { data: undefined, encode: (text: string) => [...tokenizer.encode(text, { specials: false })] };
  };
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("has cases of models with random weights alone, so that nothing is fetched", () => {
    const suite = workloads.filter((one) => one.suite === "gpu");
    expect(suite.length).toBeGreaterThan(4);
    for (const quick of [true, false]) {
      const cases = suite.flatMap((one) => one.cases(quick, { shapes: [], types: [] }));
      expect(cases.every((one) => one.model !== undefined)).toBe(true);
      const ids = cases.map(({ id }) => id);
      const wanted = targets.map(({ of }) => of.case).filter((name) => name.startsWith("gpu-"));
      expect(ids).toEqual(expect.arrayContaining(wanted));
    }
  });

  it("runs its tasks on a tiny model on the CPU, and names a missing GPU", async () => {
    writeModel(file, "tiny", shape, "Q8_0");
    const chain = stagesChain(await sources(), { context: 40, stages: 2, tokens: 6 });
    writeFileSync(chainsFile, JSON.stringify([chain]));
    expect((await measureChains({ kind: "chain" }, settings, sharedPlayer))["hand-over"]).toHaveLength(1);
    const training = trainingChains(await sources(), { count: 2, read: 40, written: 8 });
    writeFileSync(chainsFile, JSON.stringify(training));
    const train = { kind: "train", stage: "answer", batch: 2, repetitions: 1 } as const;
    const { step, "item-time": item } = await measureTraining(train, settings);
    expect(step?.[0]).toBeCloseTo(2 * (item?.[0] ?? 0));
    const batch = {
      kind: "batch",
      context: 128,
      shared: true,
      counts: [1, 8],
      tokens: 4,
      repetitions: 1,
    } as const;
    const { "kv-growth": growth } = await measureBatch(batch, settings);
    // 8 blocks of trunk, and one of each branch that is not through before the last one begins.
    expect(growth?.[0]).toBeGreaterThan(1);
    expect(growth?.[0]).toBeLessThanOrEqual(16 / 9);
    if (process.env.BATON_CUDA_LIBRARY === undefined && !existsSync("/dev/nvidia0")) {
      const there = { ...settings, device: "cuda" };
      await expect(measureBatch(batch, there)).rejects.toMatchObject({ code: "DEVICE_UNAVAILABLE" });
      await expect(measureTraining(train, there)).rejects.toMatchObject({ code: "DEVICE_UNAVAILABLE" });
    }
  });
});
