// SPDX-License-Identifier: Apache-2.0
// Loss curves and step lines of a real training run: every number is in them once, and the picture is well-formed.
import { describe, expect, it } from "vitest";
import type { Curves } from "../../src/tune/curves.js";
import { drawCurves, formatSteps } from "../../src/tune/curves.js";
import { regressionItems } from "./regression.mjs";
import { trainRegression } from "./support.js";

async function trained(epochs: number, withDev: boolean): Promise<Curves> {
  let asked = 0;
  const score = async () => {
    asked += 10;
    return { "<f1>": asked };
  };
  const { result } = await trainRegression(
    { epochs, batchSize: 4, learningRate: 0.2 },
    withDev ? { dev: regressionItems(20).slice(13), score } : {},
  );
  return result;
}

/** Tags are closed in order, and nothing but text and attributes is between them. */
function checkTags(svg: string): void {
  const open: string[] = [];
  for (const [, end, name, , closed] of svg.matchAll(/<(\/?)([a-z]+)((?: [a-zA-Z-]+="[^"<]*")*)(\/?)>/g)) {
    if (end === "/") expect(open.pop()).toBe(name);
    else if (closed !== "/") open.push(name as string);
  }
  expect(open).toEqual([]);
  expect(svg.replace(/<\/?[a-z]+(?: [a-zA-Z-]+="[^"<]*")*\/?>/g, "")).not.toMatch(/[<>]/);
}

describe("step lines", () => {
  it("are JSON, one per step and evaluation, in order", async () => {
    const curves = await trained(2, true);
    const lines = formatSteps(curves).trimEnd().split("\n");
    const parsed = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(parsed.map(({ type, step }) => `${type} ${step}`)).toEqual([
      "evaluation 0",
      ...[1, 2, 3, 4].map((step) => `step ${step}`),
      "evaluation 4",
      ...[5, 6, 7, 8].map((step) => `step ${step}`),
      "evaluation 8",
    ]);
    expect(parsed[1]).toMatchObject({ loss: curves.steps[0]?.loss, rows: curves.steps[0]?.rows });
    expect(parsed.some((one) => "before" in one || "evaluation" in one)).toBe(false);
    expect(formatSteps({ steps: [], evaluations: [] })).toBe("");
  });
});

describe("loss curves", () => {
  it("have a point per step and a mark per evaluation, scores in a panel of their own", async () => {
    const curves = await trained(3, true);
    const svg = drawCurves(curves);
    checkTags(svg);
    const [training, dev, scores] = [...svg.matchAll(/<path d="(M[^"H]*)"/g)].map(
      ([, path]) => path as string,
    );
    expect(training?.match(/[ML]/g)).toHaveLength(12);
    expect(dev?.match(/[ML]/g)).toHaveLength(4);
    expect(scores?.match(/[ML]/g)).toHaveLength(4);
    expect(svg.match(/<circle/g)).toHaveLength(8);
    expect(svg).toContain("&lt;f1&gt; after step 12: 40");
    expect(svg).toContain(
      `dev loss after step 12: ${Number(curves.evaluations.at(-1)?.devLoss.toPrecision(6))}`,
    );
    // the lowest loss is the lowest point
    const heights = [...(training as string).matchAll(/[ML][\d.]+ ([\d.]+)/g)].map(([, y]) => Number(y));
    const losses = curves.steps.map(({ loss }) => loss);
    expect(heights.indexOf(Math.max(...heights))).toBe(losses.indexOf(Math.min(...losses)));
    expect(Math.max(...heights)).toBeLessThanOrEqual(240);
    expect(Math.min(...heights)).toBeGreaterThanOrEqual(0);
  });

  it("are drawn without dev data, of one step, of none, of equal losses, of thousands", async () => {
    const { steps } = await trained(1, false);
    const first = steps[0] as Curves["steps"][number];
    const many = Array.from({ length: 5000 }, (_, i) => ({ ...first, step: i + 1, loss: 1 + Math.sin(i) }));
    for (const some of [steps, [first], [], steps.map((one) => ({ ...one, loss: 0 })), many]) {
      const svg = drawCurves({ steps: some, evaluations: [] });
      checkTags(svg);
      expect(svg).not.toMatch(/NaN|Infinity|undefined/);
      expect(svg.length).toBeLessThan(60_000);
    }
  });
});
