// SPDX-License-Identifier: Apache-2.0
// The formats that there are, and which one a chat template has.

import { llama, mistral } from "./bare.js";
import type { ToolFormat } from "./format.js";
import { tagged } from "./tagged.js";

const formats: readonly ToolFormat[] = [tagged, mistral, llama];

/** Of a template that knows tools; without a sign of another one, tags. */
export function formatOf(template: string): ToolFormat {
  return formats.find((one) => one.of(template)) ?? tagged;
}

export { Blanks } from "./blanks.js";
export type { CallReader, Piece, ReadCall, ToolFormat } from "./format.js";
export { callId } from "./format.js";
export { closeTag, openTag, tagged } from "./tagged.js";
