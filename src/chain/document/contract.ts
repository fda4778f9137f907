// SPDX-License-Identifier: Apache-2.0
// What a kind of step is in a document: the schema of its object, and how it goes into a builder.

/** A JSON Schema (draft 7). */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** The builder's methods, names and options not known before run time. */
export interface DocumentBuilder {
  input(name: string, options: object): DocumentBuilder;
  stage(name: string, options: object): DocumentBuilder;
  join(name: string, options: object): DocumentBuilder;
  rounds(name: string, body: DocumentBody, options: object): DocumentBuilder;
  when(name: string, condition: (results: never) => boolean, body: DocumentBody): DocumentBuilder;
  fanOut(name: string, source: object, body: DocumentBody): DocumentBuilder;
  use(name: string, chain: DocumentBuilder, inputs: object): DocumentBuilder;
}

/** Adds the steps inside of a block. */
export type DocumentBody = (builder: DocumentBuilder) => DocumentBuilder;

/** A function that the document names. */
export type DocumentFunction = (results: never, context: never) => unknown;

export interface DocumentContext {
  /** Relative paths of prompts start here. */
  directory: string;
  /** The function that the document names in `field`. Throws CHAIN_INVALID when it was not given. */
  functionOf(name: string, field: string): DocumentFunction;
  /** Place of the node for messages, e.g. "steps[2]". */
  where: string;
  /** Names of the stages that are declared before the node, in its list and around it. */
  before: readonly string[];
  /** Names of the stages among these steps. */
  stagesOf(nodes: readonly object[]): readonly string[];
  /** A builder without steps, for a chain inside of the chain. */
  empty(): DocumentBuilder;
  /** The steps that stand in the node's `steps`. `closed`: they see nothing that stands around. */
  body(nodes: readonly object[], closed?: boolean): DocumentBody;
  /** The steps of the document in a file, whose path starts where this document lies. They see nothing around. */
  document(path: string): DocumentBody;
}

export interface DocumentStep<Node> {
  /** The property that names the step; no other kind has it. */
  key: string;
  /** Schema of the step's object. */
  schema: JsonSchema;
  /** `node` fits the schema. */
  add(builder: DocumentBuilder, node: Node, context: DocumentContext): DocumentBuilder;
}
