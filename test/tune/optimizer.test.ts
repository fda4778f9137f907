// SPDX-License-Identifier: Apache-2.0
// AdamW, clipping and schedules against PyTorch and transformers (test/fixtures/python/optimizer.py).
import { describe, expect, it } from "vitest";
import { adamWStep, clipGradients, createAdamWState, globalNorm } from "../../src/tune/optimizer.js";
import type { ScheduleName } from "../../src/tune/schedule.js";
import { scheduleAt, scheduleNames, warmupStepsOf } from "../../src/tune/schedule.js";
import { loadArrays, loadFacts } from "../helpers/fixtures.js";

interface Facts {
  steps: number;
  cases: {
    name: string;
    schedule: string;
    warmupSteps: number;
    learningRate: number;
    betas: [number, number];
    epsilon: number;
    weightDecay: number;
    maxNorm: number | null;
    norms: number[];
    rates: number[];
  }[];
  schedules: { name: string; steps: number; warmupSteps: number; shares: number[] }[];
}

const facts = loadFacts<Facts>("optimizer");
const arrays = loadArrays("optimizer");
const names = ["a", "b"] as const;
const scheduleOf = (name: string) => name.replace("_with_warmup", "") as ScheduleName;
const partOf = (all: Float32Array, step: number) => {
  const size = all.length / facts.steps;
  return all.slice(step * size, (step + 1) * size);
};

function largestDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - (b[i] as number))), 0);
}

describe("AdamW", () => {
  it.each(facts.cases.map((one) => [one.name, one] as const))("takes PyTorch's ten steps: %s", (_, one) => {
    const values = names.map((name) => arrays.floats(`start.${name}`));
    const expected = names.map((name) => arrays.floats(`${one.name}.${name}`));
    const given = names.map((name) => arrays.floats(`gradients.${name}`));
    const state = createAdamWState(values);
    const span = { steps: facts.steps, warmupSteps: one.warmupSteps };
    for (let step = 0; step < facts.steps; step++) {
      const gradients = given.map((all) => partOf(all, step));
      const norm = globalNorm(gradients);
      expect(Math.abs(norm / (one.norms[step] as number) - 1)).toBeLessThan(1e-6);
      if (one.maxNorm !== null) clipGradients(gradients, norm, one.maxNorm);
      const rate = one.learningRate * scheduleAt(scheduleOf(one.schedule), step, span);
      expect(rate).toBeCloseTo(one.rates[step] as number, 12);
      adamWStep(values, gradients, state, rate, one);
      for (const [p, value] of values.entries()) {
        expect(largestDifference(value, partOf(expected[p] as Float32Array, step))).toBeLessThan(1e-6);
      }
    }
    expect(state.updates).toBe(facts.steps);
    // the comparison would see a step left out
    const last = partOf(expected[0] as Float32Array, facts.steps - 1);
    expect(largestDifference(last, partOf(expected[0] as Float32Array, facts.steps - 2))).toBeGreaterThan(
      1e-4,
    );
  });

  it("clips in some steps of the fixture and not in others", () => {
    const limited = facts.cases.filter(({ maxNorm }) => maxNorm !== null);
    const over = limited.flatMap(({ norms, maxNorm }) => norms.map((norm) => norm > (maxNorm as number)));
    expect(new Set(over).size).toBe(2);
  });

  it("clips to the length, and leaves what is shorter as it is, bit for bit", () => {
    const gradients = [Float32Array.of(3, 0), Float32Array.of(0, -4)];
    expect(globalNorm(gradients)).toBe(5);
    clipGradients(gradients, 5, 10);
    expect(gradients).toEqual([Float32Array.of(3, 0), Float32Array.of(0, -4)]);
    clipGradients(gradients, 5, 1);
    expect(globalNorm(gradients)).toBeCloseTo(1, 5);
  });
});

describe("schedules", () => {
  it("are those that the fixture has, and all of them", () => {
    expect(new Set(facts.schedules.map(({ name }) => scheduleOf(name)))).toEqual(new Set(scheduleNames));
  });

  it.each(
    facts.schedules.map((one) => [`${one.name}, ${one.steps} steps, ${one.warmupSteps}`, one] as const),
  )("are transformers': %s of warm-up", (_, { name, steps, warmupSteps, shares }) => {
    for (const [step, share] of shares.entries()) {
      expect(scheduleAt(scheduleOf(name), step, { steps, warmupSteps })).toBeCloseTo(share, 12);
    }
  });

  it("take warm-up as a share of the steps, rounded up, or as steps", () => {
    expect(warmupStepsOf(0.03, 105)).toBe(4);
    expect(warmupStepsOf(0, 105)).toBe(0);
    expect(warmupStepsOf(0.5, 1)).toBe(1);
    expect(warmupStepsOf(7, 105)).toBe(7);
    expect(warmupStepsOf(500, 105)).toBe(105);
  });
});
