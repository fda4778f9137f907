// SPDX-License-Identifier: Apache-2.0
// A chain as a table: one line per group that says how often it runs, one per segment in order of the plan.

import type { Scene } from "./index.js";

/** The end of a text says what the first token follows. */
function shortened(text: string): string {
  if (text === "") return "";
  return text.length > 28 ? `...${JSON.stringify(text.slice(-24)).slice(1)}` : JSON.stringify(text);
}

export function drawTable({ layout, groups, segments }: Scene): string {
  const header = ["segment", "kind", "of", "rows", "from", "opener", "reads (position, shift)"];
  const lines = segments.map((one) => [
    one.segment,
    one.kind,
    one.stage ?? "shared",
    one.rows === null ? "?" : String(one.rows),
    one.start.text,
    one.openerText === undefined ? "" : shortened(one.openerText) || "none",
    one.reads.map((read) => `${read.segment} (${read.at.text}, ${read.shift.text})`).join("  ") || "nothing",
  ]);
  const all = [header, ...lines];
  const widths = header.map((_, column) => Math.max(...all.map((line) => (line[column] ?? "").length)));
  const text = all.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  const notes = groups.map(({ group, runs }) => `${group}: ${runs}`);
  return [`layout: ${layout}`, ...notes, ...text].join("\n");
}
