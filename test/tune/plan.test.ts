// SPDX-License-Identifier: Apache-2.0
// Live, frozen, unneeded: the examples of the method by hand, and random chains against the dense mask, whose closure
// knows neither plans nor segments' kinds.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Plan } from "../../src/chain/plan.js";
import { planChain } from "../../src/chain/plan.js";
import type { Step } from "../../src/chain/steps/index.js";
import { stepKinds } from "../../src/chain/steps/index.js";
import { kindsOf } from "../../src/tune/plan.js";
import { denseReference } from "../chain/oracle.js";
import { oracleName, planOf } from "../chain/oracle-plan.js";
import { randomChain } from "../chain/random-chain.js";

const { input, stage, rounds } = stepKinds;
const prompt = { prompt: { text: "any" } };

/** "live: a b; frozen: c; unneeded: d" of a plan when the named stages are trained and scored. */
function kinds(steps: readonly Step[], trained: readonly string[], scored = trained, counts = {}): string {
  const plan: Plan = planChain(steps, { counts: new Map(Object.entries(counts)) });
  const prompts = new Set(trained.map((one) => plan.promptOf.get(one) as string));
  const labels = plan.segments.filter((one) => one.kind === "output" && scored.includes(one.site));
  const found = kindsOf(plan, prompts, new Set(labels.map(({ id }) => id)));
  const of = (kind: string) => {
    const ids = [...found].filter(([, one]) => one === kind).map(([id]) => id);
    return `${kind}: ${ids.join(", ") || "none"}`;
  };
  return [of("live"), of("frozen"), of("unneeded")].join("; ");
}

describe("the method's examples", () => {
  const chain = [
    input("shared", {}),
    input("hint", {}),
    stage("A", { ...prompt, own: ["hint"] }),
    input("note", {}),
    stage("B", { ...prompt, own: ["note"] }),
  ];

  test("training B of A -> B: what A wrote is frozen, A's own input with it", () => {
    expect(kinds(chain, ["B"])).toBe(
      "live: prompt of B, note, B; frozen: shared, prompt of A, hint, A; unneeded: none",
    );
  });

  test("training A: B is unneeded", () => {
    expect(kinds(chain, ["A"])).toBe(
      "live: prompt of A, hint, A; frozen: shared; unneeded: prompt of B, note, B",
    );
  });

  test("training A for what B writes: all of B is live, its frozen prompt is read", () => {
    expect(kinds(chain, ["A"], ["B"])).toBe(
      "live: prompt of A, hint, A, note, B; frozen: shared, prompt of B; unneeded: none",
    );
  });

  test("an own input that reads nothing but shared inputs is frozen, one that is alone too", () => {
    const narrow = [
      input("shared", {}),
      input("passages", { alone: true }),
      input("hint", { reads: ["shared"] }),
      stage("A", { ...prompt, own: ["passages", "hint"] }),
    ];
    // the own input sees its stage's prompt whatever its `reads` are
    expect(kinds(narrow, ["A"])).toBe("live: prompt of A, hint, A; frozen: shared, passages; unneeded: none");
  });

  test("joint rounds: all outputs are live; one role alone leaves the turns before its first one frozen", () => {
    const steps = [
      input("question", {}),
      rounds("turns", { body: [stage("reason", prompt), stage("recall", prompt)], max: 4 }),
    ];
    const three = { turns: 2 };
    expect(kinds(steps, ["turns.reason", "turns.recall"], undefined, three)).toBe(
      "live: prompt of turns.reason, prompt of turns.recall, turns[0].reason, turns[0].recall, turns[1].reason, " +
        "turns[1].recall; frozen: question; unneeded: none",
    );
    expect(kinds(steps, ["turns.recall"], undefined, three)).toBe(
      "live: prompt of turns.recall, turns[0].recall, turns[1].reason, turns[1].recall; " +
        "frozen: question, prompt of turns.reason, turns[0].reason; unneeded: none",
    );
  });
});

test("random chains: as the closure of the dense mask has it", () => {
  let live = 0;
  let frozen = 0;
  let unneeded = 0;
  fc.assert(
    fc.property(randomChain, fc.nat(0xffff), fc.nat(0xffff), (chain, trainedBits, scoredBits) => {
      const plan = planOf(chain.steps);
      const prompts = plan.segments.filter((one) => one.kind === "prompt");
      const outputs = plan.segments.filter((one) => one.kind === "output");
      const pick = <T>(list: readonly T[], bits: number) => list.filter((_, at) => (bits >> at) & 1);
      const trained = new Set(pick(prompts, trainedBits).map(({ id }) => id));
      const scored = new Set(pick(outputs, scoredBits).map(({ id }) => id));
      const found = kindsOf(plan, trained, scored);

      const { rows, distance } = denseReference(chain.steps, chain.lengths, chain.layout);
      const names = new Map(plan.segments.map(({ id }) => [oracleName(plan, id), id]));
      const idOf = (row: number) => names.get(rows[row]?.segment ?? "") as string;
      const reaches = closure(distance.map((row) => row.map((one) => one !== null)));
      for (const [row] of rows.entries()) {
        const needed = rows.some((_, other) => scored.has(idOf(other)) && reaches[other]?.[row] === true);
        const moved = rows.some((_, other) => trained.has(idOf(other)) && reaches[row]?.[other] === true);
        // rows behind the one that is looked at belong to its segment, which is of one kind
        const last = rows.findLastIndex(({ segment }) => segment === rows[row]?.segment);
        const isNeeded = needed || rows.some((_, other) => scored.has(idOf(other)) && reaches[other]?.[last]);
        const kind = isNeeded ? (moved ? "live" : "frozen") : "unneeded";
        expect(found.get(idOf(row))).toBe(kind);
        if (kind === "live") live += 1;
        else if (kind === "frozen") frozen += 1;
        else unneeded += 1;
      }
    }),
    { numRuns: 300 },
  );
  for (const count of [live, frozen, unneeded]) expect(count).toBeGreaterThan(500);
});

/** [row][other]: whether the states of `row` depend on `other`, over any number of reads. */
function closure(reads: readonly (readonly boolean[])[]): boolean[][] {
  const found: boolean[][] = [];
  for (const [row, own] of reads.entries()) {
    const all = own.map((one, other) => one || other === row);
    // rows stand in the order of writing, except that all prompts may stand anywhere: go on until nothing is new
    found.push(all);
  }
  for (let changed = true; changed; ) {
    changed = false;
    for (const row of found) {
      for (const [other, isRead] of row.entries()) {
        if (!isRead) continue;
        for (const [further, one] of (found[other] as boolean[]).entries()) {
          if (one && row[further] !== true) {
            row[further] = true;
            changed = true;
          }
        }
      }
    }
  }
  return found;
}
