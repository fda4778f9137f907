// SPDX-License-Identifier: Apache-2.0
// Tables of the pages that are written from measurements.

/** Columns of one width each, as the formatter of the repository has them. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows].map((cells) => head.map((_, at) => (cells[at] ?? "").trim()));
  const widths = head.map((_, at) => Math.max(3, ...all.map((cells) => cells[at]?.length ?? 0)));
  const [first, ...others] = all.map(
    (cells) => `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(" | ")} |`,
  );
  return [first, `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...others].join("\n");
}
