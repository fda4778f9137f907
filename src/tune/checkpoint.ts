// SPDX-License-Identifier: Apache-2.0
// Where a training run stands, as one safetensors file: values, moments and best values as float32 tensors, the rest as
// JSON in its metadata, under a SHA-256 of both. Numbers in JSON come back bit for bit, so a run that goes on from it
// computes what it would have computed. Read strictly: another version, a damaged file or another run is refused. What
// an export says of the prompts is in it, so that they can be taken out without the model, the chain or the data.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { PromptInvalidError } from "../errors.js";
import { CheckpointInvalidError, IoError } from "../errors.js";
import { formatSafetensors, parseSafetensors } from "../model/safetensors.js";
import type { OrderState } from "./batches.js";
import type { PromptFacts, TrainedPrompt } from "./export.js";
import { writeWhole } from "./files.js";
import type { Evaluation, TuneStep } from "./steps.js";
import type { Parameter, ParameterNumbers } from "./task.js";

const format = "baton tuning checkpoint";
const version = "2";

/** What must be the same for a run to go on, by name: model, chain, data, what the order of items depends on. */
export type Identity = Readonly<Record<string, string>>;

export interface BestValues {
  step: number;
  devLoss: number;
  /** By parameter. */
  values: Float32Array[];
}

/** Where a run stands, without the numbers of its parameters. */
export interface Progress {
  identity: Identity;
  /** What may be changed between runs, at the price of other losses: learning rate, schedule, epochs ... */
  settings: Identity;
  /** Steps done. */
  step: number;
  order: OrderState;
  best: BestValues | null;
  /** Evaluations since the best one. */
  waited: number;
  history: TuneStep[];
  evaluations: Evaluation[];
  /** The run has ended by itself. */
  finished: boolean;
}

export interface Checkpoint extends Progress, ParameterNumbers {}

/** What an export says of the values and of the best ones, by parameter. */
export interface CheckpointFacts {
  values: readonly PromptFacts[];
  /** Null without best values. */
  best: readonly PromptFacts[] | null;
}

type State = Omit<Checkpoint, "values" | "adam" | "best"> & {
  updates: number;
  best: Omit<BestValues, "values"> | null;
  parameters: readonly Parameter[];
  facts: CheckpointFacts;
};

type Tensors = Map<string, { shape: readonly number[]; data: Float32Array }>;

const groups = ["values", "first", "second", "best"] as const;
type Group = (typeof groups)[number];

/** What later steps do not change. */
export function snapshot(progress: Progress, numbers: ParameterNumbers): Checkpoint {
  const { history, evaluations } = progress;
  return { ...progress, ...numbers, history: [...history], evaluations: [...evaluations] };
}

function digest(state: string, tensors: Tensors): string {
  const hash = createHash("sha256").update(state);
  for (const [name, { shape, data }] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(`\n${name} ${shape.join(" ")}\n`);
    const bytes = new DataView(new ArrayBuffer(4 * data.length));
    for (const [i, value] of data.entries()) bytes.setFloat32(4 * i, value, true);
    hash.update(bytes);
  }
  return hash.digest("hex");
}

/** Writes the checkpoint, whole or not at all. Throws IoError; the one before stays then. */
export async function writeCheckpoint(
  path: string,
  checkpoint: Checkpoint,
  parameters: readonly Parameter[],
  facts: CheckpointFacts,
): Promise<void> {
  const { values, adam, best, ...rest } = checkpoint;
  const tensors: Tensors = new Map();
  const sets = { values, first: adam.first, second: adam.second, best: best?.values ?? [] };
  for (const group of groups) {
    for (const [p, data] of sets[group].entries()) {
      const { stage, rows, hidden } = parameters[p] as Parameter;
      tensors.set(`${group}.${stage}`, { shape: [rows, hidden], data });
    }
  }
  const state: State = {
    ...rest,
    updates: adam.updates,
    best: best && { step: best.step, devLoss: best.devLoss },
    parameters,
    facts,
  };
  const text = JSON.stringify(state);
  const metadata = { format, version, sha256: digest(text, tensors), state: text };
  await writeWhole(path, formatSafetensors(tensors, metadata));
}

function invalid(path: string, what: string, facts: Record<string, string> = {}): CheckpointInvalidError {
  return new CheckpointInvalidError(
    `The checkpoint ${path} ${what}. Delete it to begin from the start, or name another file.`,
    { facts: { path, ...facts } },
  );
}

function parse(path: string, bytes: Uint8Array): { state: State; tensors: Tensors } {
  let file: ReturnType<typeof parseSafetensors>;
  try {
    file = parseSafetensors(bytes, path);
  } catch (cause) {
    const { facts } = cause as PromptInvalidError;
    throw invalid(path, `is damaged: it has ${String(facts.found)}`);
  }
  const { metadata } = file;
  const tensors: Tensors = new Map(file.tensors);
  if (metadata.format !== format) throw invalid(path, "is no checkpoint of a tuning run");
  if (metadata.version !== version) {
    const found = metadata.version ?? "none";
    throw invalid(path, `has the format version ${found}; this package reads ${version}`, { found, version });
  }
  const { state = "", sha256 } = metadata;
  if (digest(state, tensors) !== sha256) throw invalid(path, "is damaged: its checksum is another");
  return { state: JSON.parse(state) as State, tensors };
}

/** Names and values of the two that differ. */
export function differences(
  there: Identity,
  here: Identity,
): { field: string; there: string; here: string }[] {
  const fields = [...new Set([...Object.keys(there), ...Object.keys(here)])];
  const pairs = fields.map((field) => ({
    field,
    there: there[field] ?? "none",
    here: here[field] ?? "none",
  }));
  return pairs.filter((pair) => pair.there !== pair.here);
}

function checkIdentity(path: string, there: Identity, here: Identity): void {
  const [first] = differences(there, here);
  if (first === undefined) return;
  const list = differences(there, here).map((one) => `${one.field} was ${one.there} and is ${one.here}`);
  throw invalid(path, `is of another run: ${list.join("; ")}`, first);
}

/** A file that is a checkpoint, of whatever run. */
export interface CheckpointFile {
  readonly path: string;
  readonly step: number;
  readonly finished: boolean;
  readonly history: readonly TuneStep[];
  readonly evaluations: readonly Evaluation[];
  /** Of the lowest dev loss, null without an evaluation; or of the last step. */
  prompts(keep: "best" | "last"): CheckpointPrompts | null;
  /** Throws CHECKPOINT_INVALID naming what is different. */
  restore(identity: Identity, parameters: readonly Parameter[]): Checkpoint;
}

export interface CheckpointPrompts {
  /** Steps after which they were what they are. */
  step: number;
  prompts: (TrainedPrompt & { stage: string })[];
}

/** Null if there is no file. Throws CHECKPOINT_INVALID for what is damaged or of another version; IoError. */
export async function openCheckpoint(path: string): Promise<CheckpointFile | null> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    const { code = "", message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT") return null;
    throw new IoError(`The checkpoint ${path} cannot be read: ${message}. Check its permissions.`, {
      facts: { path, code },
      cause,
    });
  }
  const { state, tensors } = parse(path, bytes);
  const { updates, best, parameters: there, facts, ...rest } = state;
  const set = (group: Group, parameters: readonly Parameter[]) =>
    parameters.map(({ stage, rows, hidden }) => {
      const tensor = tensors.get(`${group}.${stage}`);
      if (tensor?.data.length === rows * hidden) return tensor.data;
      throw invalid(path, `has no ${group} [${rows}, ${hidden}] of stage "${stage}"`, { stage });
    });
  return {
    path,
    step: state.step,
    finished: state.finished,
    history: state.history,
    evaluations: state.evaluations,
    prompts(keep) {
      const [of, step, group] =
        keep === "best"
          ? [facts.best, best?.step, "best" as const]
          : [facts.values, state.step, "values" as const];
      if (of === null || step === undefined) return null;
      const rows = set(group, there);
      const prompts = there.map(({ stage, rows: count }, at) => {
        return { stage, rows: rows[at] as Float32Array, count, ...(of[at] as PromptFacts) };
      });
      return { step, prompts };
    },
    restore(identity, parameters) {
      checkIdentity(path, state.identity, identity);
      return {
        ...rest,
        values: set("values", parameters),
        adam: { updates, first: set("first", parameters), second: set("second", parameters) },
        best: best && { ...best, values: set("best", parameters) },
      };
    },
  };
}
