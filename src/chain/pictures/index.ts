// SPDX-License-Identifier: Apache-2.0
// The pictures of a chain. A new one is one file and one line here; each is a text made of an explanation alone.

import type { ExplainedGroup, ExplainedSegment } from "../explain.js";
import type { Layout } from "../types.js";
import { drawMermaid } from "./mermaid.js";
import { drawSvg } from "./svg.js";
import { drawTable } from "./table.js";

export interface Scene {
  layout: Layout;
  groups: readonly ExplainedGroup[];
  segments: readonly ExplainedSegment[];
}

export const pictures = {
  /** Segments, frames, views and shifts as lines of text. */
  table: drawTable,
  /** The mask: who reads whom, rows to scale. */
  svg: drawSvg,
  /** Segments as nodes, reads as arrows, in Mermaid's flowchart language. */
  mermaid: drawMermaid,
} as const satisfies Record<string, (scene: Scene) => string>;

export type PictureKind = keyof typeof pictures;

export const pictureKinds = Object.keys(pictures) as readonly PictureKind[];
