// SPDX-License-Identifier: Apache-2.0
// Where a command writes: results to standard output, everything about the way there to standard error. With --json
// standard output holds one JSON value and nothing else.

export interface TerminalStream {
  write(text: string): unknown;
  isTTY?: boolean;
  /** Characters in a line of a terminal. */
  columns?: number;
}

export interface Terminal {
  stdout: TerminalStream;
  stderr: TerminalStream;
}

const mebibyte = 1024 * 1024;

export function formatBytes(bytes: number): string {
  if (bytes >= 1024 * mebibyte) return `${(bytes / 1024 / mebibyte).toFixed(2)} GiB`;
  if (bytes >= mebibyte) return `${(bytes / mebibyte).toFixed(1)} MiB`;
  return bytes >= 1024 ? `${(bytes / 1024).toFixed(1)} KiB` : `${bytes} B`;
}

/** Columns padded to their widest cell; the first row is the header. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  const line = (row: readonly string[]) =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ");
  return rows.map((row) => line(row).trimEnd()).join("\n");
}

export function writeJson({ stdout }: Terminal, value: unknown): void {
  const plain = (_: string, one: unknown) => (typeof one === "bigint" ? one.toString() : one);
  stdout.write(`${JSON.stringify(value, plain, 2)}\n`);
}
