// SPDX-License-Identifier: Apache-2.0
// What every kind of step must do, over the table of kinds: a new kind is tested by being listed.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { planChain } from "../../src/chain/plan.js";
import { RunState } from "../../src/chain/run-state.js";
import { stepKinds } from "../../src/chain/steps/index.js";
import type { Model } from "../../src/index.js";
import { loadTiny, question, settled } from "./tiny-model.js";

let model: Model;
beforeAll(async () => {
  model = await loadTiny();
});
afterAll(() => model.close());

describe.each(Object.entries(stepKinds))("step kind %s", (_, create) => {
  test("keeps its name and claims nothing unless told", () => {
    const step = create("mine", {});
    expect(step.name).toBe("mine");
    expect(step.claims).toEqual([]);
  });

  test("refuses an unknown option", () => {
    expect(() => create("mine", { nonsense: 1 } as never)).toThrow(
      expect.objectContaining({
        code: "OPTION_INVALID",
        facts: expect.objectContaining({ option: "nonsense" }),
      }),
    );
  });

  test("plans segments under its name that read earlier ones only", () => {
    const plan = planChain([stepKinds.input("before", {}), create("mine", {}), stepKinds.stage("after", {})]);
    const id = plan.idOf.get("mine") as number;
    for (const segment of plan.segments) {
      for (const read of segment.reads) expect(read).toBeLessThan(segment.id);
    }
    expect(plan.segments[plan.idOf.get("after") as number]?.reads).toContain(id);
  });

  test("leaves a result under its name when it has executed, and frees what it held", async () => {
    const step = create("mine", {});
    const emitted: string[] = [];
    const run = new RunState({
      model,
      plan: planChain([step]),
      layout: "contiguous",
      inputs: { mine: question },
      signal: new AbortController().signal,
      emit: (event) => emitted.push(event.type),
    });
    await step.prepare?.(run);
    run.startPrompts();
    await step.execute(run);
    expect(run.results()).toHaveProperty("mine.text");
    await run.releaseAll();
    await settled(model);
    expect(model.stats().segments).toBe(0);
  });
});
