// SPDX-License-Identifier: Apache-2.0
// A chain as a document: the same definition as JSON, for command lines, servers and editors. It holds no code; what
// the program computes between stages is named and handed in.

import { ChainInvalidError } from "../../errors.js";
import type { Model } from "../../model/model.js";
import type { LoadOptions } from "../../model/options.js";
import type { Chain } from "../chain.js";
import { defineChain } from "../chain.js";
import type { Layout } from "../types.js";
import type { DocumentBuilder, DocumentContext } from "./contract.js";
import { frameSchema, stepSchema } from "./schema.js";
import { documentSteps } from "./steps/index.js";
import { validate } from "./validate.js";

export { chainSchema } from "./schema.js";

/** A document whose frame has been checked; its steps are when they go into a chain. */
export interface ChainDocument {
  model: string;
  options?: LoadOptions;
  layout?: Layout;
  steps: readonly object[];
}

export interface DocumentOptions {
  /** Relative paths of prompts start here; default: the working directory. */
  directory?: string;
  /** What `from` may name. */
  functions?: Readonly<Record<string, unknown>>;
}

const schemas = new Map(documentSteps.map((one) => [one, stepSchema(one.schema)]));

/** Throws CHAIN_INVALID naming place, value and what would be right. */
export function parseChainDocument(value: unknown): ChainDocument {
  validate(frameSchema, value, "");
  return value as ChainDocument;
}

function addStep(builder: DocumentBuilder, node: object, context: DocumentContext): DocumentBuilder {
  const { where } = context;
  const kinds = documentSteps.filter(({ key }) => Object.hasOwn(node, key));
  const [kind] = kinds;
  if (kind === undefined || kinds.length > 1) {
    const known = documentSteps.map(({ key }) => `"${key}"`).join(", ");
    const found = kinds.length === 0 ? "none of them" : kinds.map(({ key }) => `"${key}"`).join(" and ");
    throw new ChainInvalidError(
      `${where} must have one of the fields ${known}, which says what it is; it has ${found}.`,
      { facts: { path: where, available: documentSteps.map(({ key }) => key) } },
    );
  }
  validate(schemas.get(kind) as object as Readonly<Record<string, unknown>>, node, where);
  return kind.add(builder, node as never, context);
}

/**
 * The chain of a document over `model`, which need not be the one that the document names. Throws CHAIN_INVALID naming
 * the place in the document, or what the builder throws.
 */
export function chainFromDocument(
  model: Model,
  document: unknown,
  { directory = process.cwd(), functions = {} }: DocumentOptions = {},
): Chain<string, string, string, string> {
  const { layout, steps } = parseChainDocument(document);
  let builder = defineChain(model, layout === undefined ? {} : { layout }) as unknown as DocumentBuilder;
  for (const [at, node] of steps.entries()) {
    builder = addStep(builder, node, { directory, functions, where: `steps[${at}]` });
  }
  return builder as unknown as Chain<string, string, string, string>;
}
