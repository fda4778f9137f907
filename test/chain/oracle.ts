// SPDX-License-Identifier: Apache-2.0
// The dense reference: from a chain's definition and the length of every segment to, for each pair of rows, whether
// the one sees the other and how far apart they stand. Written from the rules of the method alone; it shares no code
// with the planner and knows neither views nor shifts: it lays out every reader's text afresh.

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

export type OracleStep = OracleInput | OracleStage;

/** Name of a segment: the step's, or "<stage>/prompt". */
export type Lengths = ReadonlyMap<string, number>;

export interface DenseReference {
  /** Segment and index of every row. */
  rows: { segment: string; index: number }[];
  /** [reader row][read row]: hidden (null), or reader's position minus read row's position in the reader's frame. */
  distance: (number | null)[][];
}

const promptOf = (stage: string) => `${stage}/prompt`;

function ownerOf(steps: readonly OracleStep[], input: string): OracleStage | undefined {
  return steps.find((one): one is OracleStage => one.step === "stage" && one.own.includes(input));
}

/** What the output of a stage is told, its prompt and its own inputs apart. */
function readsOfStage(steps: readonly OracleStep[], stage: OracleStage): string[] {
  const before = steps.slice(0, steps.indexOf(stage));
  const public_ = before.filter((one) => one.step === "stage" || ownerOf(steps, one.name) === undefined);
  return public_.map((one) => one.name).filter((name) => stage.reads === null || stage.reads.includes(name));
}

/** The text in front of a segment's rows, as the method tells it for each kind; prompt rows apart. */
function textBefore(steps: readonly OracleStep[], name: string): { prompt: string | null; text: string[] } {
  const step = steps.find((one) => one.name === name) as OracleStep;
  if (step.step === "stage") {
    const prompt = step.promptRows > 0 ? promptOf(name) : null;
    return { prompt, text: [...readsOfStage(steps, step), ...step.own] };
  }
  if (step.alone) return { prompt: null, text: [] };
  const owner = ownerOf(steps, name);
  const narrowed = (names: string[]) =>
    names.filter((one) => step.reads === null || step.reads.includes(one));
  if (owner === undefined) {
    const before = steps.slice(0, steps.indexOf(step));
    const shared = before.filter((one) => one.step === "input" && ownerOf(steps, one.name) === undefined);
    return { prompt: null, text: narrowed(shared.map((one) => one.name)) };
  }
  const earlier = owner.own.slice(0, owner.own.indexOf(name));
  return {
    prompt: owner.promptRows > 0 ? promptOf(owner.name) : null,
    text: narrowed([...readsOfStage(steps, owner), ...earlier]),
  };
}

/** All segments, in the order in which the paper would concatenate them. */
export function oracleSegments(steps: readonly OracleStep[]): string[] {
  const stages = steps.filter((one): one is OracleStage => one.step === "stage");
  const prompts = stages.filter((one) => one.promptRows > 0).map((one) => promptOf(one.name));
  const others = steps.flatMap((one) => {
    if (one.step === "stage") return [...one.own, one.name];
    return ownerOf(steps, one.name) === undefined ? [one.name] : [];
  });
  return [...prompts, ...others];
}

/** Position of every visible segment's first row, and of the segment's own, in the frame of `name`. */
function frameOf(
  steps: readonly OracleStep[],
  name: string,
  lengths: Lengths,
  layout: "contiguous" | "concatenated",
): Map<string, number> {
  const length = (one: string) => lengths.get(one) as number;
  const isPrompt = name.endsWith("/prompt");
  const { prompt, text } = isPrompt ? { prompt: null, text: [] } : textBefore(steps, name);
  const frame = new Map<string, number>();
  if (layout === "concatenated") {
    let position = 0;
    for (const one of oracleSegments(steps)) {
      if (one === name || one === prompt || text.includes(one)) frame.set(one, position);
      position += length(one);
    }
    return frame;
  }
  if (isPrompt) return new Map([[name, -length(name)]]);
  if (prompt !== null) frame.set(prompt, -length(prompt));
  let position = 0;
  for (const one of [...text, name]) {
    frame.set(one, position);
    position += length(one);
  }
  return frame;
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
  const frames = new Map(segments.map((one) => [one, frameOf(steps, one, lengths, layout)]));
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
