// SPDX-License-Identifier: Apache-2.0
// A chain as a Mermaid flowchart: KV flows along the arrows, from the segment that is read to the one that reads it.

import type { ExplainedRead, ExplainedSegment } from "../explain.js";
import type { Scene } from "./index.js";

const shapes = { prompt: ["([", "])"], input: ["[/", "/]"], output: ["[", "]"] } as const;

const classes = [
  "classDef prompt fill:#f3e8ff,stroke:#7c3aed,color:#1f2328",
  "classDef input fill:#e0f2fe,stroke:#0369a1,color:#1f2328",
  "classDef output fill:#dcfce7,stroke:#15803d,color:#1f2328",
];

/** Text between quotes of a Mermaid label: quotes and markup as entities. */
function label(text: string): string {
  const entities: Record<string, string> = { '"': "#quot;", "#": "#35;", "<": "#lt;", ">": "#gt;" };
  return `"${text.replace(/["#<>]/g, (one) => entities[one] as string)}"`;
}

function node({ segment, kind, rows }: ExplainedSegment, id: number): string {
  const [open, close] = shapes[kind];
  const size = rows === null ? "" : `, ${rows} rows`;
  return `s${id}${open}${label(`${segment}${size}`)}${close}:::${kind}`;
}

function arrow(read: ExplainedRead, from: number, to: number): string {
  const moved = read.shift.text !== "0";
  return `s${from} -->${moved ? `|${label(`shift ${read.shift.text}`)}|` : ""} s${to}`;
}

export function drawMermaid({ segments }: Scene): string {
  const idOf = new Map(segments.map((one, id) => [one.segment, id]));
  const arrows = segments.flatMap((one, to) =>
    one.reads.map((read) => arrow(read, idOf.get(read.segment) as number, to)),
  );
  return ["flowchart LR", ...[...segments.map(node), ...arrows, ...classes].map((line) => `  ${line}`)].join(
    "\n",
  );
}
