// SPDX-License-Identifier: Apache-2.0
// What the pictures of the pages share.

export const round = (value: number): number => Number(value.toFixed(2));

export function escaped(text: string): string {
  const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text.replace(/[&<>"]/g, (one) => entities[one] as string);
}

/** The next of 1, 2, 5 times a power of ten that is not below `most`; 1 for nothing. */
export function scaleTo(most: number): number {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return power * ([1, 2, 5, 10].find((one) => one * power >= most) as number);
}

/** The picture around its parts, on white. */
export function picture(
  title: string,
  { width, height }: { width: number; height: number },
  parts: readonly string[],
): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" font-family="system-ui, sans-serif" font-size="12">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}
