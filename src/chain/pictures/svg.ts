// SPDX-License-Identifier: Apache-2.0
// The mask of a chain as an SVG: a band per segment, downwards for the rows that read, across for the rows that are
// read; prompts first, then everything in order of the plan. Filled: all of it is read. Triangle: causally, itself.
// Blank: hidden, which is where a concatenated layout has its holes. Bands are as wide as they have rows; what would
// be too thin to see, or is not known yet, is drawn wider and says so.

import type { ExplainedSegment } from "../explain.js";
import type { Scene } from "./index.js";

const plot = 460;
const least = 14; // px of the thinnest band: a line of text
const unknown = 46; // px of a band whose rows are not known
const textWidth = 7; // px of a letter at most
const colours = { prompt: "#7c3aed", input: "#0369a1", output: "#15803d" } as const;

interface Band {
  segment: ExplainedSegment;
  label: string;
  /** px from the plot's corner, the same down and across. */
  at: number;
  size: number;
}

function escaped(text: string): string {
  const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text.replace(/[&<>"]/g, (one) => entities[one] as string);
}

const round = (px: number) => Number(px.toFixed(2));

/** Pixels per row such that all bands, thin ones widened, fill the plot. */
function scaleOf(rows: readonly number[], space: number): number {
  const total = rows.reduce((sum, one) => sum + one, 0);
  if (total === 0) return 0;
  let scale = space / total;
  for (let turn = 0; turn < rows.length; turn++) {
    const thin = rows.filter((one) => one * scale < least);
    const left = total - thin.reduce((sum, one) => sum + one, 0);
    const next = left === 0 ? scale : Math.max(space - thin.length * least, 0) / left;
    if (next === scale) break;
    scale = next;
  }
  return scale;
}

function bandsOf(segments: readonly ExplainedSegment[]): Band[] {
  const isPrompt = (one: ExplainedSegment) => one.kind === "prompt";
  const ordered = [...segments.filter(isPrompt), ...segments.filter((one) => !isPrompt(one))];
  const known = ordered.flatMap(({ rows }) => (rows === null ? [] : [rows]));
  const space = Math.max(plot - (ordered.length - known.length) * unknown, known.length * least);
  const scale = scaleOf(known, space);
  let at = 0;
  return ordered.map((segment) => {
    const { rows } = segment;
    const exact = rows === null ? unknown : rows * scale;
    const size = Math.max(exact, least);
    const note = rows === null ? "?" : `${rows}${exact < least ? "*" : ""}`;
    const band = { segment, label: `${segment.segment} (${note})`, at, size };
    at += size;
    return band;
  });
}

function cells(bands: readonly Band[]): string[] {
  const bandOf = new Map(bands.map((band) => [band.segment.segment, band]));
  return bands.flatMap((reader) => {
    const { segment, at, size } = reader;
    const end = round(at + size);
    const corner = round(at);
    const own = `<polygon points="${corner},${corner} ${corner},${end} ${end},${end}" fill="${colours[segment.kind]}"><title>${escaped(segment.segment)}: itself, causally</title></polygon>`;
    const reads = segment.reads.map((read) => {
      const column = bandOf.get(read.segment) as Band;
      const title = `${segment.segment} reads ${read.segment} at ${read.at.text}, shift ${read.shift.text}`;
      return `<rect x="${round(column.at)}" y="${corner}" width="${round(column.size)}" height="${round(size)}" fill="${colours[column.segment.kind]}" fill-opacity="0.45"><title>${escaped(title)}</title></rect>`;
    });
    return [...reads, own];
  });
}

function grid(bands: readonly Band[], side: number): string[] {
  return bands.slice(1).map(({ at }) => {
    const p = round(at);
    return `<path d="M0 ${p}H${round(side)}M${p} 0V${round(side)}" stroke="#d0d7de" stroke-width="0.5"/>`;
  });
}

function labels(bands: readonly Band[]): string[] {
  return bands.flatMap(({ segment, label, at, size }) => {
    const middle = round(at + size / 2);
    const text = `fill="${colours[segment.kind]}">${escaped(label)}</text>`;
    return [
      `<text x="-8" y="${middle}" text-anchor="end" dominant-baseline="central" ${text}`,
      `<text transform="translate(${middle} -8) rotate(-90)" dominant-baseline="central" ${text}`,
    ];
  });
}

export function drawSvg({ layout, segments }: Scene): string {
  const bands = bandsOf(segments);
  const side = bands.reduce((end, { at, size }) => Math.max(end, at + size), 0);
  const margin = 16 + textWidth * Math.max(0, ...bands.map(({ label }) => label.length));
  const note = [
    `layout: ${layout}`,
    "rows down read rows across",
    ...(bands.some(({ label }) => label.endsWith("*)")) ? ["* drawn wider than to scale"] : []),
    ...(bands.some(({ label }) => label.endsWith("?)")) ? ["? rows not known yet"] : []),
  ].join("; ");
  const width = round(margin + Math.max(side, note.length * textWidth - margin) + 16);
  const height = round(margin + side + 40);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" font-family="system-ui, sans-serif" font-size="12">`,
    "<title>Who reads whom</title>",
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<g transform="translate(${margin} ${margin})">`,
    `<rect width="${round(side)}" height="${round(side)}" fill="#f6f8fa" stroke="#8c959f"/>`,
    ...cells(bands),
    ...grid(bands, side),
    ...labels(bands),
    "</g>",
    `<text x="8" y="${round(height - 14)}" fill="#57606a">${escaped(note)}</text>`,
    "</svg>",
    "",
  ].join("\n");
}
