// SPDX-License-Identifier: Apache-2.0
// Pictures of a chain against its explanation: every read is one cell of the right place and size, nothing else is
// filled.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Explanation, Layout, Model } from "../../src/index.js";
import { defineChain } from "../../src/index.js";
import { loadTiny, passages, question } from "./tiny-model.js";

let model: Model;
beforeAll(async () => {
  model = await loadTiny();
});
afterAll(() => model.close());

function explained(layout: Layout, inputs = { question, passages }): Promise<Explanation> {
  return defineChain(model, { layout })
    .input("question")
    .input("passages")
    .stage("compress", { prompt: { text: "Shorten it, please." }, own: ["passages"] })
    .stage("answer", { prompt: { text: "Answer it." } })
    .explain(inputs);
}

interface Cell {
  x: number;
  y: number;
  width: number;
  height: number;
  title: string;
}

function cellsOf(svg: string): Cell[] {
  const rect =
    /<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"[^>]*><title>([^<]*)<\/title>/g;
  return [...svg.matchAll(rect)].map(([, x, y, width, height, title]) => ({
    x: Number(x),
    y: Number(y),
    width: Number(width),
    height: Number(height),
    title: title as string,
  }));
}

/** Segment -> [start, end] in px, from the triangles on the diagonal. */
function bandsOf(svg: string): Map<string, [number, number]> {
  const triangle = /<polygon points="([\d.]+),[\d.]+ [\d.]+,([\d.]+) [^"]*"[^>]*><title>(.*): itself/g;
  return new Map(
    [...svg.matchAll(triangle)].map(([, from, to, name]) => [name as string, [Number(from), Number(to)]]),
  );
}

describe("the mask as SVG", () => {
  for (const layout of ["contiguous", "concatenated"] as const) {
    test(`${layout}: one cell per read, at the bands of reader and read, and none besides`, async () => {
      const explanation = await explained(layout);
      const svg = explanation.draw("svg");
      const bands = bandsOf(svg);
      expect([...bands.keys()].sort()).toEqual(explanation.segments.map((one) => one.segment).sort());
      const wanted = explanation.segments.flatMap((reader) =>
        reader.reads.map(({ segment, at, shift }) => {
          const [x, right] = bands.get(segment) as [number, number];
          const [y, bottom] = bands.get(reader.segment) as [number, number];
          const title = `${reader.segment} reads ${segment} at ${at.text}, shift ${shift.text}`;
          return { x, y, width: right - x, height: bottom - y, title };
        }),
      );
      const cells = cellsOf(svg);
      expect(cells.map((one) => one.title).sort()).toEqual(wanted.map((one) => one.title).sort());
      for (const one of wanted) {
        const found = cells.find((cell) => cell.title === one.title) as Cell;
        for (const side of ["x", "y", "width", "height"] as const)
          expect(found[side]).toBeCloseTo(one[side], 1);
      }
    });
  }

  test("bands are to scale, thin and unknown ones are marked, and they do not overlap", async () => {
    const explanation = await explained("contiguous", { question, passages: passages.repeat(6) });
    const svg = explanation.draw("svg");
    const bands = bandsOf(svg);
    const sizeOf = (name: string) => {
      const [from, to] = bands.get(name) as [number, number];
      return to - from;
    };
    const rowsOf = (name: string) => explanation.segments.find((one) => one.segment === name)?.rows as number;
    expect(sizeOf("passages") / sizeOf("question")).toBeCloseTo(rowsOf("passages") / rowsOf("question"), 1);
    expect(svg).toContain(`prompt of answer (${rowsOf("prompt of answer")}*)`);
    expect(svg).toContain("answer (?)");
    expect(svg).toMatch(/\* drawn wider than to scale; \? rows not known yet/);
    const ends = [...bands.values()].sort(([a], [b]) => a - b);
    for (const [at, [from]] of ends.entries())
      if (at > 0) expect(from).toBeCloseTo(ends[at - 1]?.[1] as number, 1);
  });

  test("without any known length every band is drawn", async () => {
    const svg = (await defineChain(model).input("question").stage("answer").explain()).draw("svg");
    expect(bandsOf(svg).size).toBe(2);
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  });
});

describe("Mermaid", () => {
  test("one node per segment, one arrow per read, shifts on the arrows that have one", async () => {
    const explanation = await explained("contiguous");
    const lines = explanation.draw("mermaid").split("\n");
    expect(lines[0]).toBe("flowchart LR");
    const nodes = lines.flatMap((line) => /^ {2}s(\d+)\S*"([^"]*)"/.exec(line)?.slice(1) ?? []);
    expect(nodes.length).toBe(2 * explanation.segments.length);
    const arrows = lines.filter((line) => line.includes("-->"));
    const reads = explanation.segments.flatMap((one) => one.reads);
    expect(arrows.length).toBe(reads.length);
    const moved = reads.filter((one) => one.shift.text !== "0");
    expect(moved.length).toBe(1);
    expect(arrows.filter((line) => line.includes(`"shift ${moved[0]?.shift.text}"`)).length).toBe(1);
    const at = (name: string) => explanation.segments.findIndex((one) => one.segment === name);
    expect(arrows).toContain(`  s${at("question")} --> s${at("answer")}`);
  });
});

test("a picture that does not exist is refused with those that do", async () => {
  const explanation = await explained("contiguous");
  expect(() => explanation.draw("png" as "svg")).toThrowError(
    expect.objectContaining({
      code: "OPTION_INVALID",
      message: expect.stringMatching(/table, svg, mermaid/),
    }),
  );
});
