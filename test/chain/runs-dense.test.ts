// SPDX-License-Identifier: Apache-2.0
// Whole runs of random chains against a dense forward: rounds that stop, conditions that do not hold, branches at once.
// Every token that a stage wrote must be the likeliest one where the definition, unrolled by the oracle, has it read.

import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startRun } from "../../src/chain/run.js";
import type { Model, StageResult } from "../../src/index.js";
import { loadModel } from "../../src/index.js";
import { loadNative } from "../../src/native/load.js";
import { fixturePath } from "../helpers/fixtures.js";
import type { DenseModel } from "./dense-llama.js";
import { denseLogits, embeddingOf, readDenseModel } from "./dense-llama.js";
import type { OracleStep } from "./oracle.js";
import { denseReference, isGroup, leavesOf } from "./oracle.js";
import { stepsOf } from "./oracle-plan.js";
import { randomChains } from "./random-chain.js";
import { settled } from "./tiny-model.js";

const path = fixturePath("tiny-llama/tiny-f32.gguf");
const runs = 200;
const opener = ";";
let model: Model;
let reference: DenseModel;

beforeAll(async () => {
  model = await loadModel(path, {
    threads: 1,
    kvType: "f32",
    activations: "float32",
    batchInvariant: true,
    cacheBytes: 16 << 20,
  });
  reference = readDenseModel(path, loadNative().readModelFile(path));
});
afterAll(() => model.close());

/** What stands in a segment: token ids, or soft rows [count, M]. */
type Content = number[] | Float32Array;

interface Facts {
  round?: number;
  index?: number;
}

const words = ["lamp", "harbour", "Ferry", "ice", "old", "rails", "keeper", "nine"];

/** Another text for every input, round and branch. */
function textOf(name: string, { round = 0, index = 0 }: Facts): string {
  const turn = round * 3 + index * 5 + name.length + Number(name.replace(/\D/g, ""));
  return `${words[turn % words.length]} ${words[(turn * 3 + 1) % words.length]}`;
}

function promptRows(stage: string, count: number): Float32Array {
  const seed = Number(stage.replace(/\D/g, "")) + 1;
  return Float32Array.from(
    { length: count * model.info.hidden },
    (_, i) => Math.sin(seed * 7.3 + i * 0.61) / 2,
  );
}

interface Walk {
  prefix: string;
  facts: Facts;
  /** Texts of the inputs declared so far, those of own inputs too. */
  texts: Map<string, string>;
  contents: Map<string, Content>;
}

const idsOf = (text: string) => [...model.tokenizer.encode(text, { specials: false })];

/** Collects what was written, from the run's results and the texts that its inputs were given. */
function collect(steps: readonly OracleStep[], results: Record<string, unknown>, walk: Walk): void {
  const { prefix, facts, contents } = walk;
  const texts = new Map(walk.texts);
  for (const step of steps) {
    if (isGroup(step)) {
      const { name, body } = step;
      const inner = (label: string, result: unknown, more: Facts = {}) =>
        collect(body, result as Record<string, unknown>, {
          prefix: `${prefix}${name}${label}.`,
          facts: { ...facts, ...more },
          texts,
          contents,
        });
      const result = results[name];
      if (step.step === "when") {
        if (step.count === 1) inner("", result);
        else expect(result).toBeUndefined();
        continue;
      }
      const turns = step.step === "fan" ? result : (result as { rounds: unknown }).rounds;
      expect(turns).toHaveLength(step.count);
      (turns as unknown[]).forEach((one, turn) => {
        inner(`[${turn}]`, one, step.step === "fan" ? { index: turn } : { round: turn });
      });
    } else if (step.step === "input") {
      texts.set(step.name, textOf(step.name, facts));
      contents.set(prefix + step.name, idsOf(textOf(step.name, facts)));
    } else {
      for (const own of step.own) contents.set(prefix + own, idsOf(texts.get(own) as string));
      const { tokens } = results[step.name] as StageResult;
      contents.set(prefix + step.name, [...model.tokenizer.encode(opener, { specials: true }), ...tokens]);
    }
  }
}

const filled = (steps: OracleStep[]): OracleStep[] =>
  steps.map((one) => {
    if (!isGroup(one)) return one;
    return { ...one, count: one.step === "fan" ? Math.max(1, one.count) : one.count, body: filled(one.body) };
  });

test(`${runs} random chains, run: every token is the one that the dense forward finds likeliest`, async () => {
  let tokensSeen = 0;
  let groups = 0;
  await fc.assert(
    fc.asyncProperty(randomChains(["rounds", "when", "fan"]), async ({ steps: drawn, layout }) => {
      const steps = filled(drawn); // samples are one at least
      const built = stepsOf(steps, {
        promptOf: (stage, count) => ({ rows: promptRows(stage, count), count }),
        textOf,
        stage: { opener, maxTokens: 3, closers: ["<|endoftext|>"] },
      });
      const run = startRun<string, Record<string, unknown>>({ model, steps: built, layout, inputs: {} }, {});
      const contents = new Map<string, Content>();
      for (const one of leavesOf(steps)) {
        if (one.step === "stage" && one.promptRows > 0)
          contents.set(`${one.name}/prompt`, promptRows(one.name, one.promptRows));
      }
      collect(steps, await run.result, { prefix: "", facts: {}, texts: new Map(), contents });
      groups += steps.filter(isGroup).length;
      tokensSeen += check(steps, layout, contents);
    }),
    { numRuns: runs },
  );
  expect(groups).toBeGreaterThan(runs / 4);
  expect(tokensSeen).toBeGreaterThan(runs * 3);
  await settled(model);
}, 600_000);

/** Returns how many tokens were compared. */
function check(
  steps: readonly OracleStep[],
  layout: "contiguous" | "concatenated",
  contents: ReadonlyMap<string, Content>,
): number {
  const { hidden } = model.info;
  const rowsIn = (one: Content) => (one instanceof Float32Array ? one.length / hidden : one.length);
  const lengths = new Map([...contents].map(([name, one]) => [name, rowsIn(one)]));
  const { rows, distance } = denseReference(steps, lengths, layout);
  const standing = rows.map(({ segment, index }) => {
    const content = contents.get(segment) as Content;
    if (content instanceof Float32Array) return content.subarray(index * hidden, (index + 1) * hidden);
    return embeddingOf(reference, content[index] as number);
  });
  const logits = denseLogits(reference, standing, distance);
  const stages = new Set(leavesOf(steps).flatMap((one) => (one.step === "stage" ? [one.name] : [])));
  let compared = 0;
  rows.forEach(({ segment, index }, row) => {
    const next = (contents.get(segment) as Content)[index + 1];
    if (!stages.has(segment.split(".").at(-1) as string) || next === undefined) return;
    const found = logits[row] as Float64Array;
    const best = found.reduce((most, one) => Math.max(most, one), Number.NEGATIVE_INFINITY);
    expect((found[next] as number) - best, `${segment} token ${index}`).toBeGreaterThan(-1e-3);
    compared += 1;
  });
  return compared;
}
