// SPDX-License-Identifier: Apache-2.0
// How the types of a chain are put together. Unions of names, one intersection for the results of groups, no recursion:
// what the compiler does for a step is in proportion to the names declared before it.

import type { ObjectOf, OutputSchema } from "../cache/output-schema.js";
import type {
  BranchContext,
  CallContext,
  InputResult,
  RoundContext,
  RoundsSoFar,
  StageResult,
} from "./types.js";

/** Rejects a literal name that is declared already; names known only at run time are checked then. */
export type Fresh<Name extends string, Taken> = string extends Taken
  ? unknown
  : Name extends Taken
    ? never
    : unknown;

/** The stage that a name with numbers is an instance of: "debate[1].reason" is of "debate.reason". */
export type SiteOf<Name extends string> = Name extends `${infer Head}[${number}]${infer Rest}`
  ? `${Head}${SiteOf<Rest>}`
  : Name;

/** What a stage's `output` adds to its results; nothing without. */
export type Typed<Name extends string, Schema extends OutputSchema | undefined> = undefined extends Schema
  ? unknown
  : Record<Name, ObjectOf<Schema>>;

/** What stands around the steps of a group. */
export interface Around {
  /** Names of stages and groups that may be read. */
  outputs: string;
  /** Results by name that callbacks get. */
  results: unknown;
  /** Name of the rounds that these are steps of: callbacks see the earlier ones under it. */
  rounds: string;
  context: CallContext;
}

/** Around the steps of a chain there is nothing. */
export interface TopLevel extends Around {
  outputs: never;
  rounds: never;
  results: unknown;
  context: CallContext;
}

/**
 * What callbacks get: everything declared before. In rounds, what is declared before them in the round is typed in
 * earlier rounds too.
 */
export type ResultsOf<Inputs extends string, Stages extends string, Groups, Outer extends Around> = Record<
  Inputs,
  InputResult
> &
  Record<Stages, StageResult> &
  Groups &
  Record<Outer["rounds"], RoundsSoFar<GroupResult<Inputs, Stages, Groups>>> &
  Outer["results"];

/** What one instance of a group leaves: its inputs and the results of its stages and groups. */
export type GroupResult<Inputs extends string, Stages extends string, Groups> = Record<Inputs, InputResult> &
  Record<Stages, StageResult> &
  Groups;

/** Names of the outputs that a step inside of a group may read of what stands around the group. */
type OutputsAround<Stages extends string, Groups, Outer extends Around> =
  | Stages
  | Extract<keyof Groups, string>
  | Outer["outputs"];

/** Around the steps of rounds: `Name` stands for the rounds so far. */
export interface InRounds<
  Name extends string,
  Inputs extends string,
  Stages extends string,
  Groups,
  Outer extends Around,
> extends Around {
  outputs: OutputsAround<Stages, Groups, Outer> | Name;
  results: ResultsOf<Inputs, Stages, Groups, Outer> & Record<Name, unknown>; // the name is taken
  rounds: Name;
  context: Outer["context"] & RoundContext;
}

/** Around steps that run once or not at all. */
export interface Inside<Inputs extends string, Stages extends string, Groups, Outer extends Around>
  extends Around {
  outputs: OutputsAround<Stages, Groups, Outer>;
  results: ResultsOf<Inputs, Stages, Groups, Outer>;
  rounds: never;
  context: Outer["context"];
}

/** Around the steps of a branch. */
export interface InBranch<Inputs extends string, Stages extends string, Groups, Outer extends Around>
  extends Around {
  outputs: OutputsAround<Stages, Groups, Outer>;
  results: ResultsOf<Inputs, Stages, Groups, Outer>;
  rounds: never;
  context: Outer["context"] & BranchContext;
}
