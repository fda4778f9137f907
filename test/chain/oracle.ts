// SPDX-License-Identifier: Apache-2.0
// The dense reference: from a chain's definition, how often its groups ran and the length of every segment to, for each
// pair of rows, whether the one sees the other and how far apart they stand. Written from the rules of the method
// alone; it shares no code with the planner and knows neither views nor shifts: it unrolls the chain into everything
// that was written, in order, and lays out every reader's text afresh.

export interface OracleInput {
  step: "input";
  name: string;
  alone: boolean;
  /** null: the default. */
  reads: string[] | null;
}

export interface OracleStage {
  step: "stage";
  name: string;
  /** Rows of its soft prompt; 0: it has none. */
  promptRows: number;
  own: string[];
  reads: string[] | null;
}

/** Names are unique in the whole chain here, so that a name alone says what is meant. */
export interface OracleGroup {
  step: "rounds" | "when" | "fan";
  name: string;
  /** Rounds that ran, branches there were; of a `when` 0 or 1. */
  count: number;
  body: OracleStep[];
}

export type OracleStep = OracleInput | OracleStage | OracleGroup;

/** Name of a segment: the step's with the groups around it, or "<stage>/prompt". */
export type Lengths = ReadonlyMap<string, number>;

export interface DenseReference {
  /** Segment and index of every row. */
  rows: { segment: string; index: number }[];
  /** [reader row][read row]: hidden (null), or reader's position minus read row's position in the reader's frame. */
  distance: (number | null)[][];
}

/** A group that stands around a step: which one of its own instances, and which turn of that. */
interface Place {
  group: OracleGroup;
  /** Its name with the groups around it: every instance of the group has another. */
  at: string;
  turn: number;
}

/** One step as it was written. */
interface Written {
  label: string;
  step: OracleInput | OracleStage;
  around: Place[];
  /** The stage as it was written that this input is private to. */
  owner: Written | null;
}

const promptOf = (stage: string) => `${stage}/prompt`;

export function isGroup(step: OracleStep): step is OracleGroup {
  return step.step !== "input" && step.step !== "stage";
}

/** Inputs and stages of the definition, those in groups included. */
export function leavesOf(steps: readonly OracleStep[]): (OracleInput | OracleStage)[] {
  return steps.flatMap((one) => (isGroup(one) ? leavesOf(one.body) : [one]));
}

function turnLabel(group: OracleGroup, turn: number): string {
  return group.step === "when" ? `${group.name}.` : `${group.name}[${turn}].`;
}

/** Everything that was written, in order; own inputs stand before their stage's output. */
function unroll(all: readonly OracleStep[]): Written[] {
  const leaves = leavesOf(all);
  const owned = new Set(leaves.flatMap((one) => (one.step === "stage" ? one.own : [])));
  const written: Written[] = [];
  const walk = (steps: readonly OracleStep[], prefix: string, around: Place[]) => {
    for (const step of steps) {
      if (isGroup(step)) {
        for (let turn = 0; turn < step.count; turn++) {
          const place = { group: step, at: prefix + step.name, turn };
          walk(step.body, prefix + turnLabel(step, turn), [...around, place]);
        }
      } else if (step.step === "stage") {
        const stage: Written = { label: prefix + step.name, step, around, owner: null };
        for (const name of step.own) {
          const input = leaves.find((one) => one.name === name) as OracleInput;
          written.push({ label: prefix + name, step: input, around, owner: stage });
        }
        written.push(stage);
      } else if (!owned.has(step.name)) {
        written.push({ label: prefix + step.name, step, around, owner: null });
      }
    }
  };
  walk(all, "", []);
  return written;
}

/** A branch is seen by itself; from outside of its fan-out its outputs are. Rounds and conditions hide nothing. */
function isOpenTo(text: Written, reader: Written): boolean {
  return text.around.every(({ group, at, turn }) => {
    if (group.step !== "fan") return true;
    const same = reader.around.find((one) => one.at === at);
    return same === undefined ? text.step.step === "stage" : same.turn === turn;
  });
}

/** Whether `name`, said by `reader`, means this text: the step itself, or a group that it stands in. */
function isMeant(name: string, text: Written, reader: Written): boolean {
  const isInside = ({ at }: Place) => reader.around.some((one) => one.at === at);
  if (text.step.name === name) return text.around.every(isInside); // a name is known in its group only
  const depth = text.around.findIndex((one) => one.group.name === name);
  const place = text.around[depth];
  if (place === undefined || !text.around.slice(0, depth).every(isInside)) return false;
  const mine = reader.around.find((one) => one.group.name === name);
  // inside, the group's name means its turns so far
  return mine === undefined || (mine.at === place.at && place.turn < mine.turn);
}

/** What a stage is told besides its own inputs. */
function toldTo(written: readonly Written[], stage: Written): Written[] {
  const before = written.slice(0, written.indexOf(stage));
  const { reads } = stage.step;
  return before
    .filter((one) => one.owner === null && isOpenTo(one, stage))
    .filter((one) => reads === null || reads.some((name) => isMeant(name, one, stage)));
}

/** The text in front of a segment's rows, as the method tells it for each kind; prompt rows apart. */
function textBefore(written: readonly Written[], one: Written): { prompt: string | null; text: Written[] } {
  const promptFor = (stage: Written) =>
    stage.step.step === "stage" && stage.step.promptRows > 0 ? promptOf(stage.step.name) : null;
  if (one.step.step === "stage") {
    const own = written.filter((other) => other.owner === one);
    return { prompt: promptFor(one), text: [...toldTo(written, one), ...own] };
  }
  if (one.step.alone) return { prompt: null, text: [] };
  const { reads } = one.step;
  const narrowed = (texts: Written[]) =>
    texts.filter((text) => reads === null || reads.some((name) => isMeant(name, text, one)));
  const { owner } = one;
  if (owner === null) {
    const before = written.slice(0, written.indexOf(one));
    const shared = before.filter((other) => other.step.step === "input" && other.owner === null);
    return { prompt: null, text: narrowed(shared.filter((other) => isOpenTo(other, one))) };
  }
  const own = written.filter((other) => other.owner === owner);
  const earlier = own.slice(0, own.indexOf(one));
  return { prompt: promptFor(owner), text: narrowed([...toldTo(written, owner), ...earlier]) };
}

function promptsOf(steps: readonly OracleStep[]): string[] {
  const stages = leavesOf(steps).filter((one): one is OracleStage => one.step === "stage");
  return stages.filter((one) => one.promptRows > 0).map((one) => promptOf(one.name));
}

/** All segments, in the order in which the paper would concatenate them. */
export function oracleSegments(steps: readonly OracleStep[]): string[] {
  return [...promptsOf(steps), ...unroll(steps).map((one) => one.label)];
}

/** How often each group ran, by its name with the groups around it. */
export function oracleCounts(steps: readonly OracleStep[], prefix = ""): Map<string, number> {
  const counts = new Map<string, number>();
  for (const group of steps.filter(isGroup)) {
    counts.set(prefix + group.name, group.count);
    for (let turn = 0; turn < group.count; turn++) {
      for (const [name, count] of oracleCounts(group.body, prefix + turnLabel(group, turn)))
        counts.set(name, count);
    }
  }
  return counts;
}

/** Position of every visible segment's first row, and of the segment's own, in the frame of each segment. */
function framesOf(
  steps: readonly OracleStep[],
  lengths: Lengths,
  layout: "contiguous" | "concatenated",
): Map<string, Map<string, number>> {
  const length = (one: string) => lengths.get(one) as number;
  const written = unroll(steps);
  const frames = new Map<string, Map<string, number>>();
  const lay = (name: string, prompt: string | null, text: string[]) => {
    const frame = new Map<string, number>();
    frames.set(name, frame);
    let position = 0;
    if (layout === "concatenated") {
      for (const one of oracleSegments(steps)) {
        if (one === name || one === prompt || text.includes(one)) frame.set(one, position);
        position += length(one);
      }
      return;
    }
    if (name.endsWith("/prompt")) position = -length(name);
    if (prompt !== null) frame.set(prompt, -length(prompt));
    for (const one of [...text, name]) {
      frame.set(one, position);
      position += length(one);
    }
  };
  for (const prompt of promptsOf(steps)) lay(prompt, null, []);
  for (const one of written) {
    const { prompt, text } = textBefore(written, one);
    lay(
      one.label,
      prompt,
      text.map((other) => other.label),
    );
  }
  return frames;
}

export function denseReference(
  steps: readonly OracleStep[],
  lengths: Lengths,
  layout: "contiguous" | "concatenated",
): DenseReference {
  const segments = oracleSegments(steps);
  const rows = segments.flatMap((segment) =>
    Array.from({ length: lengths.get(segment) as number }, (_, index) => ({ segment, index })),
  );
  const frames = framesOf(steps, lengths, layout);
  const distance = rows.map((reader) => {
    const frame = frames.get(reader.segment) as Map<string, number>;
    const position = (frame.get(reader.segment) as number) + reader.index;
    return rows.map((read) => {
      const start = frame.get(read.segment);
      const later = read.segment === reader.segment && read.index > reader.index;
      return start === undefined || later ? null : position - (start + read.index);
    });
  });
  return { rows, distance };
}
