// SPDX-License-Identifier: Apache-2.0
// The trace of known work: its figures are those that the model's shape gives, and its events nest.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { EngineClient } from "../../src/native/engine-client.js";
import { traceFile } from "../../src/native/trace.js";
import type { ModelInfo } from "../../src/native/types.js";
import { crossings, readTrace, sumOf } from "../helpers/trace.js";
import { greedy, openTiny, plainSegment, run } from "./support.js";

let folder = "";
let file = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "baton-trace-"));
  file = join(folder, "trace.json");
  process.env.BATON_TRACE = file;
});
afterEach(() => {
  delete process.env.BATON_TRACE;
  rmSync(folder, { recursive: true, force: true });
});

const ids = (count: number) => Int32Array.from({ length: count }, (_, i) => (i * 37 + 11) % 512);

/** Elements of the weights of one layer that rows are multiplied with. */
function layerWeights({ hidden, ffn, heads, kvHeads, headDim }: ModelInfo): number {
  return hidden * headDim * (2 * heads + 2 * kvHeads) + 3 * hidden * ffn;
}

async function traced(work: (engine: EngineClient) => Promise<unknown>, type: string, options = {}) {
  // The watch on numbers has operations of its own.
  const engine = await openTiny(type, { watchNumbers: false, ...options });
  const info = engine.info();
  await work(engine);
  await engine.close();
  return { info, trace: readTrace(file) };
}

async function prefill(engine: EngineClient, rows: number) {
  const segment = engine.createSegment({ ...plainSegment, reads: [] });
  await run(engine, [{ segment, content: ids(rows) }], { logits: "last" });
  return segment;
}

describe("a prefill", () => {
  test.each([1, 2])(
    "of 100 rows in two forwards, %i threads: rows, bytes and FLOP by hand",
    async (threads) => {
      const n = 100;
      const options = { threads, maxBatchRows: 64, kvType: "f16" } as const;
      const { info, trace } = await traced((engine) => prefill(engine, n), "q8_0", options);
      const { layers, hidden, ffn, heads, kvHeads, headDim, vocab } = info;
      const q8 = 34 / 32;
      const forwards = 2;

      expect(sumOf(trace, "linear ")).toMatchObject({
        count: 4 * layers * forwards,
        rows: 4 * n * layers,
        flop: (2 * n * layerWeights(info) + 5 * n * ffn) * layers, // and the activation of the gated unit
      });
      // float32 activations in and out; o and down read what they add to, and of gate and up only what
      // the activation makes of them is written.
      const width = heads * headDim;
      const columns = [
        { name: "linear qkv", reads: hidden, columns: width + 2 * kvHeads * headDim, times: 1 },
        { name: "linear o", reads: width, columns: hidden, times: 2 },
        { name: "linear gate up glu", reads: hidden, columns: 2 * ffn, times: 1 / 2 },
        { name: "linear down", reads: ffn, columns: hidden, times: 2 },
      ];
      for (const one of columns) {
        const weights = forwards * one.reads * one.columns * q8;
        const rows = 4 * n * (one.reads + one.times * one.columns);
        expect(sumOf(trace, one.name).bytes, one.name).toBe(layers * (weights + rows));
      }
      expect(sumOf(trace, "logits")).toMatchObject({ count: 1, rows: 1, flop: 2 * hidden * vocab });
      expect(sumOf(trace, "attend")).toMatchObject({
        count: layers * forwards,
        rows: n * layers,
        flop: 4 * headDim * heads * ((n * (n + 1)) / 2) * layers,
        // K and V of 64 rows, then of all 100, in two bytes; rotated queries and results in four.
        bytes: layers * ((64 + n) * 2 * kvHeads * headDim * 2 + 2 * n * width * 4),
      });
      expect(sumOf(trace, "rope and kv store")).toMatchObject({ rows: n * layers });
      expect(sumOf(trace, "rope")).toMatchObject({ rows: 2 * n * layers });
      expect(sumOf(trace, "linear gate up glu")).toMatchObject({
        rows: n * layers,
        flop: (4 * hidden + 5) * n * ffn * layers,
      });
      expect(sumOf(trace, "norm")).toMatchObject({ rows: 2 * n * layers + 1 });
      expect(sumOf(trace, "embed")).toMatchObject({ rows: n, bytes: n * hidden * (q8 + 4) });
      expect(sumOf(trace, "quantize").count).toBe(0);
    },
  );

  test("with int8 activations: they are quantised, and a read of another segment costs its rows once", async () => {
    const options = { activations: "int8", kvType: "f16" } as const;
    const { info, trace } = await traced(
      async (engine) => {
        const trunk = await prefill(engine, 32);
        engine.closeSegment(trunk);
        const branches = [1, 2].map(() =>
          engine.createSegment({
            ...plainSegment,
            start: 32,
            reads: [{ segment: trunk, rows: 32, shift: 0 }],
          }),
        );
        await run(
          engine,
          branches.map((segment) => ({ segment, content: ids(5) })),
          { logits: "last" },
        );
      },
      "q8_0",
      options,
    );
    const { layers, hidden, ffn, heads, kvHeads, headDim } = info;
    // What attention made, and two for each row of the head; the rest with what comes before it.
    expect(sumOf(trace, "quantize").count).toBe(2 * (layers + 2));
    const int8 = 1 + 8 / 32; // bytes of a number with its share of scale and sum
    const norms = trace.events.filter((one) => one.name === "norm and quantize");
    expect(norms).toHaveLength(2 * 2 * layers);
    expect(norms.at(-1)?.args).toMatchObject({
      rows: 10,
      bytes: 10 * hidden * (4 + int8) + 4 * hidden,
      FLOP: 10 * (7 * hidden + 3),
    });
    expect(trace.events.filter((one) => one.name === "linear gate up glu").at(-1)?.args).toMatchObject({
      rows: 10,
      bytes: (hidden * 2 * ffn * 34) / 32 + 10 * (hidden + ffn) * int8,
      FLOP: 10 * ffn * (4 * hidden + 5 + 3),
    });
    const attends = trace.events.filter((one) => one.name === "attend").slice(layers);
    const pairs = 2 * (5 * 32 + 15);
    const bytes = (32 + 5 + 5) * 2 * kvHeads * headDim * 2 + 2 * 10 * heads * headDim * 4;
    for (const { args } of attends) {
      expect(args).toMatchObject({ rows: 10, FLOP: 4 * headDim * heads * pairs, bytes });
    }
    const qkv = trace.events.filter((one) => one.name === "linear qkv").at(-1);
    const columns = headDim * (heads + 2 * kvHeads);
    expect(qkv?.args.bytes).toBe((hidden * columns * 34) / 32 + 10 * (hidden * int8 + 4 * columns));
  });
});

describe("events", () => {
  test("nest on every line, name what they are of, and say how near to the limit they came", async () => {
    const { info, trace } = await traced(
      async (engine) => {
        const segment = engine.createSegment({ ...plainSegment, reads: [] });
        await run(engine, [{ segment, content: ids(70) }], { generate: greedy(20), logits: "none" });
      },
      "q8_0",
      { threads: 2 },
    );
    expect(crossings(trace)).toEqual([]);
    expect([...trace.models.values()]).toEqual([
      expect.stringMatching(/^llama, 2 layers of \d+, Q8_0 \(process \d+\)$/),
    ]);
    expect([...trace.labels.values()]).toEqual([
      expect.stringMatching(/^limits: read [\d.]+ GB\/s, float32 \d+ GFLOP/),
    ]);
    const names = [...trace.threads.values()].map((one) => one.name);
    expect(names).toEqual(["engine", "worker 1"]);
    const count = (name: string) => trace.events.filter((one) => one.name === name).length;
    const turns = count("turn");
    expect(turns).toBe(20); // the prefill gives the first of the 20 tokens
    expect(count("forward")).toBe(turns);
    expect(count("layer")).toBe(turns * info.layers);
    expect(count("sample")).toBe(20);
    expect(count("logits")).toBeGreaterThanOrEqual(20);
    const ops = trace.events.filter((one) => one.cat === "op" && Number(one.args.FLOP) > 0);
    for (const { args } of ops) {
      expect(args["% of limit"]).toBeGreaterThanOrEqual(0);
      expect(["memory", "compute"]).toContain(args.bound);
    }
    const engine = [...trace.threads].find(([, one]) => one.name === "engine")?.[0];
    expect(ops.every((one) => one.tid === engine)).toBe(true);
    expect(trace.events.some((one) => one.tid !== engine)).toBe(true);
  });

  test("of a training step: rows and FLOP of backward by hand", async () => {
    const [n, p] = [9, 4];
    const { info, trace } = await traced(
      (engine) => {
        const labels = ids(n).map((one, i) => (i < 3 ? -1 : one));
        return engine.train({
          prompts: [{ start: -p, rows: new Float32Array(p * engine.info().hidden).fill(0.1) }],
          items: [
            {
              scale: 1,
              segments: [
                {
                  kind: "output",
                  start: 0,
                  tokens: ids(n),
                  labels,
                  reads: [{ prompt: 0, rows: p, shift: 0 }],
                },
              ],
            },
          ],
          gradient: true,
          activationBytes: 1 << 24,
        });
      },
      "f32",
      { threads: 2 },
    );
    const { layers, hidden, heads, kvHeads, headDim, vocab } = info;
    expect(crossings(trace)).toEqual([]);
    expect(trace.events.filter((one) => one.name === "train step")).toHaveLength(1);
    // Below the first layer there are tokens' embeddings, which are frozen: of it the segment's own q, k and v are left out.
    const qkv = hidden * (heads + 2 * kvHeads) * headDim;
    expect(sumOf(trace, "d linear ").flop).toBe(2 * (n + p) * layerWeights(info) * layers - 2 * n * qkv);
    expect(sumOf(trace, "d logits").flop).toBe(2 * (n - 3) * hidden * vocab);
    const [own, read, within] = [(n * (n + 1)) / 2, n * p, (p * (p + 1)) / 2];
    const pairs = own + read + within;
    expect(sumOf(trace, "d attend query").flop).toBe(6 * headDim * heads * (pairs * layers - own - read));
    expect(sumOf(trace, "d attend key").flop).toBe(8 * headDim * heads * (pairs * layers - own));
    expect(sumOf(trace, "cross entropy").rows).toBe(n - 3);
    expect(sumOf(trace, "d glu").rows).toBe((n + p) * layers);
  });
});

test("the variable: relative paths, the number of the process, unset and empty", () => {
  expect(traceFile({})).toBeUndefined();
  expect(traceFile({ BATON_TRACE: "" })).toBeUndefined();
  expect(traceFile({ BATON_TRACE: "a/%p.json" })).toBe(join(process.cwd(), `a/${process.pid}.json`));
});
