// SPDX-License-Identifier: Apache-2.0
// Figures against a count as SVG: a line per series with the span of each figure; a panel per model. Counts are powers of
// two apart or more, so they stand at equal distances.
import { escaped, picture, round, scaleTo } from "./svg.js";

export interface Point {
  /** Rows, sequences. */
  at: number;
  median: number;
  min: number;
  max: number;
}

export interface Series {
  name: string;
  points: readonly Point[];
}

export interface LinePanel {
  title: string;
  series: readonly Series[];
}

const width = 720;
const left = 70;
const right = 190;
const top = 40;
const plotHeight = 190;
const bottom = 46;
const colours = ["#0369a1", "#b45309", "#57606a", "#15803d", "#7e22ce"];

type Place = (value: number) => number;

function drawSeries({ name, points }: Series, colour: string, x: Place, y: Place): string[] {
  const path = points.map(({ at, median }, i) => `${i === 0 ? "M" : "L"}${x(at)} ${y(median)}`).join("");
  const marks = points.map(({ at, median, min, max }) => {
    const said = `${name}, ${at}: ${median.toPrecision(3)} (${min.toPrecision(3)} to ${max.toPrecision(3)})`;
    return `<g><title>${escaped(said)}</title><path d="M${x(at)} ${y(min)}V${y(max)}" stroke="${colour}"/><circle cx="${x(at)}" cy="${y(median)}" r="3.5" fill="${colour}"/></g>`;
  });
  return [`<path d="${path}" stroke="${colour}" stroke-width="2" fill="none"/>`, ...marks];
}

function drawPanel({ title, series }: LinePanel, offset: number, axis: { x: string; y: string }): string[] {
  const counts = [...new Set(series.flatMap(({ points }) => points.map(({ at }) => at)))].sort(
    (a, b) => a - b,
  );
  const scale = scaleTo(Math.max(...series.flatMap(({ points }) => points.map(({ max }) => max))));
  const inner = width - left - right;
  const x = (at: number) => round(left + ((counts.indexOf(at) + 0.5) / counts.length) * inner);
  const y = (value: number) => round(plotHeight * (1 - value / scale));
  const grid = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const value = share * scale;
    return `<path d="M${left} ${y(value)}H${left + inner}" stroke="#d0d7de" stroke-width="0.5"/><text x="${left - 8}" y="${y(value)}" text-anchor="end" dominant-baseline="central" fill="#57606a">${round(value)}</text>`;
  });
  const ticks = counts.map(
    (at) => `<text x="${x(at)}" y="${plotHeight + 16}" text-anchor="middle" fill="#57606a">${at}</text>`,
  );
  const legend = series.map(({ name }, i) => {
    const middle = 8 + 20 * i;
    const colour = colours[i % colours.length];
    return `<path d="M${left + inner + 14} ${middle}h18" stroke="${colour}" stroke-width="2"/><text x="${left + inner + 38}" y="${middle}" dominant-baseline="central" fill="#1f2328">${escaped(name)}</text>`;
  });
  return [
    `<g transform="translate(0 ${offset})">`,
    `<text x="${left}" y="-16" font-weight="600" fill="#1f2328">${escaped(`${title}, ${axis.y}`)}</text>`,
    ...grid,
    ...ticks,
    `<text x="${left + inner / 2}" y="${plotHeight + 34}" text-anchor="middle" fill="#57606a">${escaped(axis.x)}</text>`,
    ...series.flatMap((one, i) => drawSeries(one, colours[i % colours.length] as string, x, y)),
    ...legend,
    "</g>",
  ];
}

/** `axis`: what the counts and the figures are. */
export function drawLines(
  title: string,
  panels: readonly LinePanel[],
  axis: { x: string; y: string },
): string {
  const each = top + plotHeight + bottom;
  const parts = panels.flatMap((panel, i) => drawPanel(panel, i * each + top, axis));
  return picture(title, { width, height: panels.length * each }, parts);
}
