// SPDX-License-Identifier: Apache-2.0
// A training run for people and for programs: its loss curves as SVG, its steps and evaluations as JSON lines.

import type { Evaluation, TuneStep } from "./steps.js";

export interface Curves {
  steps: readonly TuneStep[];
  evaluations: readonly Evaluation[];
}

/** One JSON object per line, in order: { type: "evaluation", ... } and { type: "step", ... }. */
export function formatSteps({ steps, evaluations }: Curves): string {
  const lines: { at: number; line: object }[] = [];
  for (const { before: _, evaluation: __, ...step } of steps) {
    lines.push({ at: step.step, line: { type: "step", ...step } });
  }
  for (const one of evaluations) lines.push({ at: one.step + 0.5, line: { type: "evaluation", ...one } });
  lines.sort((a, b) => a.at - b.at);
  return lines.map(({ line }) => `${JSON.stringify(line)}\n`).join("");
}

const width = 720;
const plotWidth = 600;
const plotHeight = 240;
const left = 64;
const top = 36;
const gap = 64;
const mostPoints = 1200;
const colours = ["#0369a1", "#b45309", "#15803d", "#7c3aed", "#be123c"] as const;

interface Point {
  x: number;
  y: number;
}

interface Line {
  name: string;
  points: Point[];
  /** Each point is drawn, with its value. */
  marked: boolean;
}

interface Axis {
  from: number;
  to: number;
  ticks: number[];
}

const round = (value: number): number => Number(value.toFixed(2));

function escaped(text: string): string {
  const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text.replace(/[&<>"]/g, (one) => entities[one] as string);
}

/** Ticks at 1, 2 or 5 times a power of ten, about `count` of them, from at or below the least to at or above the most. */
function axisOf(values: readonly number[], count: number): Axis {
  const least = Math.min(...values);
  const most = Math.max(...values);
  const span = most > least ? most - least : Math.abs(most) || 1;
  const power = 10 ** Math.floor(Math.log10(span / count));
  const step = power * ([1, 2, 5, 10].find((one) => (one * power * count) / span >= 1) as number);
  const first = Math.floor(least / step);
  const last = Math.max(Math.ceil(most / step), first + 1);
  const ticks = Array.from({ length: last - first + 1 }, (_, i) =>
    Number(((first + i) * step).toPrecision(12)),
  );
  return { from: first * step, to: last * step, ticks };
}

/** Neighbours averaged when there are more points than pixels. */
function thinned(points: Point[]): Point[] {
  const size = Math.ceil(points.length / mostPoints);
  if (size === 1) return points;
  return Array.from({ length: Math.ceil(points.length / size) }, (_, i) => {
    const part = points.slice(i * size, (i + 1) * size);
    const mean = (of: (point: Point) => number) => part.reduce((sum, one) => sum + of(one), 0) / part.length;
    return { x: mean(({ x }) => x), y: mean(({ y }) => y) };
  });
}

function drawLine({ name, points, marked }: Line, colour: string, at: (point: Point) => Point): string[] {
  const places = thinned(points).map(at);
  const path = places.map(({ x, y }, i) => `${i === 0 ? "M" : "L"}${round(x)} ${round(y)}`).join("");
  const drawn = `<path d="${path}" fill="none" stroke="${colour}" stroke-width="${marked ? 2 : 1.2}" stroke-linejoin="round"/>`;
  if (!marked && points.length > 1) return [drawn];
  const marks = points.map((point) => {
    const { x, y } = at(point);
    const title = `${name} after step ${point.x}: ${Number(point.y.toPrecision(6))}`;
    return `<circle cx="${round(x)}" cy="${round(y)}" r="3" fill="${colour}"><title>${escaped(title)}</title></circle>`;
  });
  return [drawn, ...marks];
}

/** Lines over steps in a frame of their own, `offset` pixels down. */
function drawPanel(title: string, lines: readonly Line[], steps: number, offset: number): string[] {
  const y = axisOf(
    lines.flatMap(({ points }) => points.map((one) => one.y)),
    5,
  );
  const x = axisOf([0, Math.max(1, steps)], 8);
  const at = (point: Point): Point => ({
    x: ((point.x - x.from) / (x.to - x.from)) * plotWidth,
    y: plotHeight - ((point.y - y.from) / (y.to - y.from)) * plotHeight,
  });
  const down = y.ticks.map((tick) => {
    const place = round(at({ x: 0, y: tick }).y);
    return `<path d="M0 ${place}H${plotWidth}" stroke="#d0d7de" stroke-width="0.5"/><text x="-8" y="${place}" text-anchor="end" dominant-baseline="central" fill="#57606a">${tick}</text>`;
  });
  const across = x.ticks
    .filter((tick) => Number.isInteger(tick))
    .map((tick) => {
      const place = round(at({ x: tick, y: y.from }).x);
      return `<text x="${place}" y="${plotHeight + 16}" text-anchor="middle" fill="#57606a">${tick}</text>`;
    });
  const keys = lines.map(({ name }, i) => {
    return `<tspan dx="16" fill="${colours[i % colours.length]}">${escaped(name)}</tspan>`;
  });
  return [
    `<g transform="translate(${left} ${offset})">`,
    `<text x="0" y="-10" font-weight="600" fill="#1f2328">${escaped(title)}</text>`,
    `<rect width="${plotWidth}" height="${plotHeight}" fill="#f6f8fa" stroke="#8c959f"/>`,
    ...down,
    ...across,
    ...lines.flatMap((line, i) => drawLine(line, colours[i % colours.length] as string, at)),
    `<text x="${plotWidth}" y="-10" text-anchor="end">${keys.join("")}</text>`,
    `<text x="${plotWidth / 2}" y="${plotHeight + 34}" text-anchor="middle" fill="#57606a">steps</text>`,
    "</g>",
  ];
}

/** Loss over steps, of the batches and of the dev data; below it the scores, if there are any. */
export function drawCurves({ steps, evaluations }: Curves): string {
  const last = Math.max(steps.at(-1)?.step ?? 0, evaluations.at(-1)?.step ?? 0);
  const losses: Line[] = [
    { name: "training loss", points: steps.map((one) => ({ x: one.step, y: one.loss })), marked: false },
    { name: "dev loss", points: evaluations.map((one) => ({ x: one.step, y: one.devLoss })), marked: true },
  ].filter(({ points }) => points.length > 0);
  const names = [...new Set(evaluations.flatMap(({ scores }) => Object.keys(scores)))];
  const scores: Line[] = names.map((name) => ({
    name,
    points: evaluations.flatMap((one) => {
      const score = one.scores[name];
      return score === undefined ? [] : [{ x: one.step, y: score }];
    }),
    marked: true,
  }));
  const panels = [
    { title: "Loss (cross entropy, natural logarithm)", lines: losses },
    { title: "Scores of generated outputs", lines: scores },
  ].filter(({ lines }) => lines.length > 0);
  const height = top + Math.max(1, panels.length) * (plotHeight + gap);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" font-family="system-ui, sans-serif" font-size="12">`,
    "<title>Loss curves</title>",
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    ...panels.flatMap(({ title, lines }, i) => drawPanel(title, lines, last, top + i * (plotHeight + gap))),
    "</svg>",
    "",
  ].join("\n");
}
