// SPDX-License-Identifier: Apache-2.0
// Options of a run: each wrong one is named with its value, and what needs dev data or a checkpoint says so.
import { describe, expect, it } from "vitest";
import { OptionInvalidError } from "../../src/errors.js";
import { checkTrainOptions } from "../../src/tune/settings.js";

describe("options", () => {
  const wrong: [string, unknown][] = [
    ["epochs", 0],
    ["epochs", 1.5],
    ["batchSize", -1],
    ["accumulation", Number.NaN],
    ["learningRate", 0],
    ["learningRate", Number.POSITIVE_INFINITY],
    ["learningRate", "0.1"],
    ["schedule", "exponential"],
    ["warmup", -0.1],
    ["warmup", 2.5],
    ["betas", [0.9]],
    ["betas", [0.9, 1]],
    ["epsilon", 0],
    ["weightDecay", -1],
    ["maxGradientNorm", 0],
    ["seed", 2 ** 32],
    ["shuffle", "yes"],
    ["evaluateEvery", 0],
    ["patience", 0],
    ["keep", "worst"],
    ["checkpoint", ""],
    ["checkpointEvery", 0],
    ["resume", 1],
  ];
  it.each(wrong)("%s of %j is refused by name and value", (option, value) => {
    let error: unknown;
    try {
      checkTrainOptions({ [option]: value }, true);
    } catch (caught) {
      error = caught;
    }
    expect(OptionInvalidError.isInstance(error)).toBe(true);
    expect((error as OptionInvalidError).facts.option).toBe(option);
    expect((error as Error).message).toContain(`\`${option}\``);
  });

  it.each(["patience", "evaluateEvery", "keep"] as const)("%s needs dev data", (option) => {
    const options = { patience: 2, evaluateEvery: 2, keep: "best" } as const;
    expect(() => checkTrainOptions({ [option]: options[option] }, false)).toThrow(`\`${option}\``);
    expect(checkTrainOptions({ [option]: options[option] }, true)[option]).toBe(options[option]);
  });

  it("resume needs a checkpoint", () => {
    expect(() => checkTrainOptions({ resume: true }, false)).toThrow("`resume`");
  });
});
