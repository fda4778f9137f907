// SPDX-License-Identifier: Apache-2.0
// Views and shifts against the dense reference, over random chains: the same pairs of rows visible, each at the same
// distance. RoPE scores depend on distances only, so this is all there is to be right about placement.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { placeSegment } from "../../src/chain/frame.js";
import type { PlannedSegment } from "../../src/chain/plan.js";
import { loadFacts } from "../helpers/fixtures.js";
import { denseReference, isGroup } from "./oracle.js";
import { oracleName, planOf } from "./oracle-plan.js";
import type { RandomChain } from "./random-chain.js";
import { randomChain } from "./random-chain.js";

/** The segment lists that the PyTorch reference was computed with. */
interface ReferenceChain {
  segments: { name: string; rows: number }[];
  layouts: Record<
    "contiguous" | "concatenated",
    { name: string; start: number; reads: { segment: string; rows: number; shift: number }[] }[]
  >;
}

/** Distances as the engine would form them: query at position - shift against keys at the writer's positions. */
function distancesOf({ steps, lengths, layout }: RandomChain): Map<string, number> {
  const plan = planOf(steps);
  const lengthOf = (id: string) => lengths.get(oracleName(plan, id)) as number;
  const distances = new Map<string, number>();
  for (const segment of plan.segments) {
    const { start, reads } = placeSegment(plan, layout, segment.id, lengthOf);
    const reader = oracleName(plan, segment.id);
    for (let row = 0; row < lengthOf(segment.id); row++) {
      for (const { id, shift } of reads) {
        const writer = placeSegment(plan, layout, id, lengthOf);
        const read = oracleName(plan, id);
        for (let key = 0; key < lengthOf(id); key++) {
          distances.set(`${reader}[${row}] ${read}[${key}]`, start + row - shift - (writer.start + key));
        }
      }
      for (let key = 0; key <= row; key++) distances.set(`${reader}[${row}] ${reader}[${key}]`, row - key);
    }
  }
  return distances;
}

function referenceOf({ steps, lengths, layout }: RandomChain): Map<string, number> {
  const { rows, distance } = denseReference(steps, lengths, layout);
  const distances = new Map<string, number>();
  rows.forEach((reader, at) => {
    rows.forEach((read, key) => {
      const found = distance[at]?.[key];
      if (found === null || found === undefined) return;
      distances.set(`${reader.segment}[${reader.index}] ${read.segment}[${read.index}]`, found);
    });
  });
  return distances;
}

const sorted = (map: Map<string, number>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));

describe("frames", () => {
  test("views with shifts equal the dense mask of the definition, 3000 random chains", () => {
    let stages = 0;
    let owned = 0;
    let shifted = 0;
    const groups = { rounds: 0, when: 0, fan: 0 };
    fc.assert(
      fc.property(randomChain, (chain) => {
        expect(sorted(distancesOf(chain))).toEqual(sorted(referenceOf(chain)));
        const plan = planOf(chain.steps);
        const lengthOf = (id: string) => chain.lengths.get(oracleName(plan, id)) as number;
        for (const one of chain.steps) if (isGroup(one)) groups[one.step] += 1;
        stages += plan.segments.filter((one) => one.kind === "output").length;
        owned += plan.segments.filter((one) => one.kind === "input" && one.stage !== null).length;
        for (const { id } of plan.segments) {
          shifted += placeSegment(plan, chain.layout, id, lengthOf).reads.filter(
            (one) => one.shift !== 0,
          ).length;
        }
      }),
      { numRuns: 3000 },
    );
    // the generator must have reached what the test is about
    expect(stages).toBeGreaterThan(3000);
    expect(owned).toBeGreaterThan(500);
    expect(shifted).toBeGreaterThan(1000);
    expect(Math.min(...Object.values(groups))).toBeGreaterThan(200);
  });

  test("every reader's frame is contiguous text from 0, prompts at -n .. -1", () => {
    fc.assert(
      fc.property(randomChain, ({ steps, lengths }) => {
        const plan = planOf(steps);
        const lengthOf = (id: string) => lengths.get(oracleName(plan, id)) as number;
        for (const { id, kind } of plan.segments) {
          const { start, reads } = placeSegment(plan, "contiguous", id, lengthOf);
          if (kind === "prompt") {
            expect(start).toBe(-lengthOf(id));
            continue;
          }
          let next = 0;
          for (const read of reads) {
            if (plan.byId.get(read.id)?.kind === "prompt") {
              expect(read.at).toBe(-lengthOf(read.id));
              expect(read.shift).toBe(0);
            } else {
              expect(read.at).toBe(next);
              next += lengthOf(read.id);
            }
          }
          expect(start).toBe(next);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test("A -> B of the method: B reads O_A with shift -|I_A|", () => {
    const plan = planOf([
      { step: "input", name: "all", alone: false, reads: null },
      { step: "input", name: "mine", alone: false, reads: null },
      { step: "stage", name: "a", promptRows: 5, own: ["mine"], reads: null },
      { step: "stage", name: "b", promptRows: 7, own: [], reads: null },
    ]);
    const lengths = new Map([
      ["a/prompt", 5],
      ["b/prompt", 7],
      ["all", 10],
      ["mine", 20],
      ["a", 3],
      ["b", 4],
    ]);
    const lengthOf = (id: string) => lengths.get(oracleName(plan, id)) as number;
    const place = (name: string) => {
      const { start, reads } = placeSegment(plan, "contiguous", name, lengthOf);
      return {
        start,
        reads: reads.map(({ id, at, shift }) => [oracleName(plan, id), at, shift]),
      };
    };
    expect(place("all")).toEqual({ start: 0, reads: [] });
    expect(place("mine")).toEqual({
      start: 10,
      reads: [
        ["a/prompt", -5, 0],
        ["all", 0, 0],
      ],
    });
    expect(place("a")).toEqual({
      start: 30,
      reads: [
        ["a/prompt", -5, 0],
        ["all", 0, 0],
        ["mine", 10, 0],
      ],
    });
    expect(place("b")).toEqual({
      start: 13,
      reads: [
        ["b/prompt", -7, 0],
        ["all", 0, 0],
        ["a", 10, -20],
      ],
    });
  });

  test.each(["contiguous", "concatenated"] as const)("the reference chain, %s", (layout) => {
    const { segments, layouts } = loadFacts<ReferenceChain>("fthss-chain");
    const rows = new Map(segments.map((one) => [one.name, one.rows]));
    const plan = planOf([
      { step: "input", name: "I_ALL", alone: false, reads: null },
      { step: "input", name: "I_A", alone: false, reads: null },
      { step: "stage", name: "O_A", promptRows: 8, own: ["I_A"], reads: null },
      { step: "stage", name: "O_B", promptRows: 6, own: [], reads: null },
    ]);
    const nameOf = (id: string) => {
      const { kind, name } = plan.byId.get(id) as PlannedSegment;
      return kind === "prompt" ? name.replace("O_", "P_") : name;
    };
    const lengthOf = (id: string) => rows.get(nameOf(id)) as number;
    for (const { name, start, reads } of layouts[layout]) {
      const { id } = plan.segments.find((one) => nameOf(one.id) === name) as PlannedSegment;
      const placed = placeSegment(plan, layout, id, lengthOf);
      expect({
        name,
        start: placed.start,
        reads: placed.reads.map((one) => ({
          segment: nameOf(one.id),
          rows: lengthOf(one.id),
          shift: one.shift,
        })),
      }).toEqual({ name, start, reads });
    }
  });
});
