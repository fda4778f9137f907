// SPDX-License-Identifier: Apache-2.0
// What every kind of step must do, over the table of kinds: a new kind is tested by being listed here.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { planChain } from "../../src/chain/plan.js";
import { RunState } from "../../src/chain/run-state.js";
import { Scope } from "../../src/chain/scope.js";
import type { Step } from "../../src/chain/steps/index.js";
import { stepKinds } from "../../src/chain/steps/index.js";
import type { Model } from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import { loadTiny, passages, question, settled } from "./tiny-model.js";

let model: Model;
beforeAll(async () => {
  model = await loadTiny();
});
afterAll(() => model.close());

const inside = () => [stepKinds.stage("inner", { maxTokens: 2 })];

/** The least that each kind is made of, and more options. */
const samples: Record<keyof typeof stepKinds, (name: string, more?: object) => Step> = {
  input: (name, more) => stepKinds.input(name, { ...more }),
  stage: (name, more) => stepKinds.stage(name, { maxTokens: 2, ...more }),
  rounds: (name, more) => stepKinds.rounds(name, { max: 2, body: inside(), ...more }),
  when: (name, more) => stepKinds.when(name, { condition: () => true, body: inside(), ...more }),
  fanOut: (name, more) => stepKinds.fanOut(name, { samples: 3, body: inside(), ...more }),
  join: (name, more) => stepKinds.join(name, { reads: ["before"], maxTokens: 2, ...more }),
  use: (name, more) => stepKinds.use(name, { body: inside(), inputs: {}, ...more }),
};

test("every kind is here", () => {
  expect(Object.keys(samples).sort()).toEqual(Object.keys(stepKinds).sort());
});

describe.each(Object.entries(samples))("step kind %s", (_, create) => {
  test("keeps its name and claims nothing unless told", () => {
    const step = create("mine");
    expect(step.name).toBe("mine");
    expect(step.claims).toEqual([]);
  });

  test("refuses an unknown option", () => {
    expect(() => create("mine", { nonsense: 1 })).toThrow(
      expect.objectContaining({
        code: "OPTION_INVALID",
        facts: expect.objectContaining({ option: "nonsense" }),
      }),
    );
  });

  test("plans segments under its name that read earlier ones only", () => {
    const plan = planChain([stepKinds.input("before", {}), create("mine"), stepKinds.stage("after", {})]);
    const seen = new Set<string>();
    for (const { id, reads } of plan.segments) {
      for (const read of reads) expect(seen).toContain(read);
      seen.add(id);
    }
    const mine = plan.segments.filter((one) => /^mine\b/.test(one.name)).map((one) => one.id);
    expect(mine.length).toBeGreaterThan(0);
    expect(plan.byId.get("after")?.reads).toEqual(expect.arrayContaining(mine));
  });

  test("leaves a result under its name when it has executed, and frees what it held", async () => {
    const step = create("mine");
    const steps = [stepKinds.input("before", {}), step];
    const run = new RunState({
      model,
      steps,
      layout: "contiguous",
      cache: { salt: "", retain: "usual" },
      signal: new AbortController().signal,
      emit: () => {},
    });
    const scope = Scope.root(run, { before: passages, mine: question });
    await step.prepare?.(run, step.name);
    run.startPrompts();
    await scope.execute(steps);
    expect(scope.results()).toHaveProperty("mine");
    await run.releaseAll();
    await settled(model);
    expect(model.stats().segments).toBe(0);
  });
});

test("layout concatenated is refused wherever the branches are, naming layout, step and remedy", () => {
  const inRounds = () =>
    defineChain(model, { layout: "concatenated" }).rounds(
      "turns",
      (round) => round.fanOut("f", { samples: 2 }, (branch) => branch.stage("s")),
      { max: 2 },
    );
  expect(inRounds).toThrow(
    expect.objectContaining({
      code: "CHAIN_INVALID",
      facts: { step: "turns.f", layout: "concatenated" },
      message: expect.stringMatching(/"turns\.f".*layout "concatenated".*Use layout "contiguous"\.$/),
    }),
  );
});
