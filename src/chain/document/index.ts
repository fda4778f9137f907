// SPDX-License-Identifier: Apache-2.0
// A chain as a document: the same definition as JSON, for command lines, servers and editors. It holds no code; what
// the program computes between stages is named and handed in.

import { dirname, resolve } from "node:path";
import { ChainInvalidError } from "../../errors.js";
import type { Model } from "../../model/model.js";
import type { LoadOptions } from "../../model/options.js";
import { didYouMean } from "../../suggest.js";
import type { Chain } from "../chain.js";
import { defineChain } from "../chain.js";
import type { Layout } from "../types.js";
import type {
  DocumentBody,
  DocumentBuilder,
  DocumentContext,
  DocumentFunction,
  JsonSchema,
} from "./contract.js";
import type { OpenFiles } from "./files.js";
import { enter, inFiles, readJson } from "./files.js";
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
  /** Where the document lies, if it lies in a file: no document that it uses may use it. */
  file?: string;
  /** Relative paths of prompts and documents start here; default: the file's folder, else the working directory. */
  directory?: string;
  /** What `from` may name. */
  functions?: Readonly<Record<string, unknown>>;
  /** Hears the path of every document that is opened, also of one that cannot be read. */
  onFile?: (file: string) => void;
}

const schemas = new Map(documentSteps.map((one) => [one, stepSchema(one.schema)]));

/** Throws CHAIN_INVALID naming place, value and what would be right. */
export function parseChainDocument(value: unknown): ChainDocument {
  validate(frameSchema, value, "");
  return value as ChainDocument;
}

/** Blocks in blocks: more than this is a mistake, or an object that holds itself. */
const mostDepth = 16;

interface Surroundings extends Pick<DocumentContext, "directory" | "before" | "empty"> {
  functions: Readonly<Record<string, unknown>>;
  /** Blocks and documents around. */
  depth: number;
  files: OpenFiles;
  layout: Layout;
}

function stagesOf(nodes: readonly object[]): string[] {
  return nodes.flatMap((node) => {
    const { stage, join } = node as { stage?: unknown; join?: unknown };
    return [stage, join].filter((one) => typeof one === "string");
  });
}

function functionOf(
  functions: Readonly<Record<string, unknown>>,
  name: string,
  path: string,
): DocumentFunction {
  const found = Object.hasOwn(functions, name) ? functions[name] : undefined;
  if (typeof found === "function") return found as DocumentFunction;
  const available = Object.keys(functions).filter((one) => typeof functions[one] === "function");
  throw new ChainInvalidError(
    `${path} names the function "${name}", which is not among those given (${available.join(", ") || "none"}). ` +
      `Give it, on the command line in the module of --functions.${didYouMean(name, available)}`,
    { facts: { path, value: name, available } },
  );
}

function addStep(
  builder: DocumentBuilder,
  node: object,
  where: string,
  around: Surroundings,
): DocumentBuilder {
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
  validate(schemas.get(kind) as JsonSchema, node, where);
  const body =
    (nodes: readonly object[], closed = false) =>
    (inside: DocumentBuilder) => {
      const before = closed ? [] : around.before;
      return addSteps(inside, nodes, `${where}.steps`, { ...around, before, depth: around.depth + 1 });
    };
  const document = (path: string) => documentBody(path, `${where}.document`, around);
  const named = (name: string, field: string) => functionOf(around.functions, name, `${where}.${field}`);
  return kind.add(builder, node as never, { ...around, where, functionOf: named, stagesOf, body, document });
}

/** The steps of another document. What it says of its model is for whoever runs it alone. */
function documentBody(path: string, place: string, around: Surroundings): DocumentBody {
  return (inside) => {
    const file = resolve(around.directory, path);
    const files = enter(around.files, file, place);
    return inFiles(files, () => {
      const { layout = around.layout, steps } = parseChainDocument(readJson(files, place));
      if (layout !== around.layout) {
        throw new ChainInvalidError(
          `layout is "${layout}" and that of the chain around "${around.layout}". A chain has one; change or leave it out.`,
          { facts: { path: "layout", value: layout } },
        );
      }
      const depth = around.depth + 1;
      return addSteps(inside, steps, "steps", {
        ...around,
        files,
        directory: dirname(file),
        before: [],
        depth,
      });
    });
  };
}

function addSteps(
  builder: DocumentBuilder,
  nodes: readonly object[],
  where: string,
  around: Surroundings,
): DocumentBuilder {
  const { depth, before } = around;
  if (depth > mostDepth) {
    throw new ChainInvalidError(
      `${where} is inside of ${depth} blocks. At most ${mostDepth} may stand in each other; does one hold itself?`,
      { facts: { path: where, value: depth, limit: mostDepth } },
    );
  }
  return nodes.reduce<DocumentBuilder>(
    (built, node, at) =>
      addStep(built, node, `${where}[${at}]`, {
        ...around,
        before: [...before, ...stagesOf(nodes.slice(0, at))],
      }),
    builder,
  );
}

/**
 * The chain of a document over `model`, which need not be the one that the document names. Throws CHAIN_INVALID naming
 * the place in the document, or what the builder throws.
 */
export function chainFromDocument(
  model: Model,
  document: unknown,
  { file, directory, functions = {}, onFile }: DocumentOptions = {},
): Chain<string, string, string, string> {
  const { layout, steps } = parseChainDocument(document);
  const empty = () =>
    defineChain(model, layout === undefined ? {} : { layout }) as unknown as DocumentBuilder;
  const none: OpenFiles = { path: [], opened: { count: 0, ...(onFile && { tell: onFile }) } };
  const chain = addSteps(empty(), steps, "steps", {
    directory: directory ?? (file === undefined ? process.cwd() : dirname(resolve(file))),
    functions,
    empty,
    before: [],
    depth: 0,
    files: file === undefined ? none : enter(none, resolve(file), "file"),
    layout: layout ?? "contiguous",
  });
  return chain as unknown as Chain<string, string, string, string>;
}
