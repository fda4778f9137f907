// SPDX-License-Identifier: Apache-2.0
// A bar per variant with the interval of its mean, as SVG; a panel per metric.
import { escaped, picture, round, scaleTo } from "../../page/svg.js";
import type { Interval } from "../bootstrap.js";

export interface Bar {
  name: string;
  value: Interval;
}

export interface Panel {
  title: string;
  bars: readonly Bar[];
}

const width = 720;
const left = 170;
const right = 90;
const rowHeight = 26;
const top = 34;
const gap = 30;
const colour = "#0369a1";

function drawBar({ name, value }: Bar, at: number, pixels: (value: number) => number): string[] {
  const y = at * rowHeight;
  const middle = y + 9;
  const [low, high] = [round(left + pixels(value.low)), round(left + pixels(value.high))];
  const figure = `${value.mean.toFixed(1)} (${value.low.toFixed(1)} to ${value.high.toFixed(1)})`;
  return [
    `<text x="${left - 8}" y="${middle}" text-anchor="end" dominant-baseline="central" fill="#1f2328">${escaped(name)}</text>`,
    `<rect x="${left}" y="${y}" width="${round(pixels(value.mean))}" height="18" fill="${colour}" fill-opacity="0.55"><title>${escaped(`${name}: ${figure}`)}</title></rect>`,
    `<path d="M${low} ${middle}H${high}M${low} ${middle - 4}V${middle + 4}M${high} ${middle - 4}V${middle + 4}" stroke="#1f2328" fill="none"/>`,
    `<text x="${high + 8}" y="${middle}" dominant-baseline="central" fill="#57606a">${value.mean.toFixed(1)}</text>`,
  ];
}

function drawPanel({ title, bars }: Panel, offset: number): string[] {
  const scale = scaleTo(Math.max(...bars.map(({ value }) => value.high)));
  const pixels = (value: number) => (value / scale) * (width - left - right);
  const bottom = bars.length * rowHeight;
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const x = round(left + pixels(share * scale));
    return `<path d="M${x} -4V${bottom}" stroke="#d0d7de" stroke-width="0.5"/><text x="${x}" y="${bottom + 12}" text-anchor="middle" fill="#57606a">${round(share * scale)}</text>`;
  });
  return [
    `<g transform="translate(0 ${offset})">`,
    `<text x="${left}" y="-12" font-weight="600" fill="#1f2328">${escaped(title)}</text>`,
    ...ticks,
    ...bars.flatMap((bar, at) => drawBar(bar, at, pixels)),
    "</g>",
  ];
}

export function drawBars(title: string, panels: readonly Panel[]): string {
  const parts: string[] = [];
  let offset = top;
  for (const panel of panels) {
    parts.push(...drawPanel(panel, offset));
    offset += panel.bars.length * rowHeight + gap + top;
  }
  return picture(title, { width, height: offset }, parts);
}
