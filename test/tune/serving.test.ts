// SPDX-License-Identifier: Apache-2.0
// What is fed in serving is fed in training, row for row: a chain with every kind of step is run, everything that it
// hands to the engine is written down, and the rows of training on the same record must be those: kinds, starts,
// tokens of inputs, openers, views and shifts. The gold texts have as many tokens as the run generates.

import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { ChainDefinition } from "../../src/chain/definition.js";
import { planChain } from "../../src/chain/plan.js";
import type { Model } from "../../src/index.js";
import type { Append, NativeJob, SegmentHandle, SegmentSpec } from "../../src/native/types.js";
import type { AssembledItem } from "../../src/tune/assemble.js";
import { openTuning } from "../../src/tune/tuning.js";
import { loadTiny } from "../chain/tiny-model.js";
import { everyInput, everyRecord, everyStep } from "./every-step.js";

let model: Model;
beforeAll(async () => {
  model = await loadTiny({ cacheBytes: 64 << 20 });
});
afterAll(() => model.close());

/** A segment as it went to the engine; its reads by place in the order of creation. */
interface Fed {
  kind: string;
  start: number;
  /** Of appends: without generated rows. */
  tokens: number[];
  reads: { at: number; rows: number; shift: number }[];
}

/** Everything that `work` writes, in the order in which segments were created; rows of generation are not in it. */
async function fedBy(work: () => Promise<unknown>): Promise<Fed[]> {
  const fed: Fed[] = [];
  const places = new Map<SegmentHandle, number>();
  const { engine } = model;
  const create = engine.createSegment.bind(engine);
  const run = engine.run.bind(engine);
  const creating = vi.spyOn(engine, "createSegment").mockImplementation((spec: SegmentSpec) => {
    const handle = create(spec);
    places.set(handle, fed.length);
    const reads = spec.reads.map(({ segment, ...read }) => ({ at: places.get(segment) ?? -1, ...read }));
    fed.push({ kind: spec.kind, start: spec.start, tokens: [], reads });
    return handle;
  });
  const running = vi.spyOn(engine, "run").mockImplementation((job: NativeJob, listeners) => {
    for (const { segment, tokens = [] } of job.appends as Append[]) {
      fed[places.get(segment) as number]?.tokens.push(...tokens);
    }
    return run(job, listeners);
  });
  try {
    await work();
  } finally {
    creating.mockRestore();
    running.mockRestore();
  }
  return fed;
}

async function assembled(definition: ChainDefinition, stages: readonly string[]): Promise<AssembledItem> {
  const data = [everyRecord];
  const tuning = await openTuning(definition, {
    stages: Object.fromEntries(stages.map((one) => [one, { init: { text: "x" }, virtualTokens: 9 }])),
    data,
  });
  const [item] = tuning.items;
  if (item === undefined) throw new Error("no item");
  const found = tuning.task.assemble(await item.read(), item.origin);
  tuning.task.close();
  return found;
}

/** A segment with all that its KV depends on, as text. Of outputs only the opener: what follows is generated. */
function described(
  segment: { kind: string; start: number; tokens: ArrayLike<number> },
  opener: number,
  reads: readonly { text: string; rows: number; shift: number }[],
): string {
  const { kind, start } = segment;
  const tokens = Array.from(segment.tokens).slice(0, kind === "output" ? opener : undefined);
  return JSON.stringify({ kind, start, tokens: kind === "prompt" ? [] : tokens, reads });
}

/** Rows of a stage's opener by its name. */
function openerRows(site: string): number {
  const name = site.split(".").at(-1);
  if (name === "compress") return 0;
  return name === "think" ? model.tokenizer.encode("\nThought:", { specials: true }).length : 1;
}

/** Texts of all segments but prompts, as the run wrote them. */
function servedTexts(fed: readonly Fed[], openerOf: (one: Fed) => number): string[] {
  const texts: string[] = [];
  for (const one of fed) {
    const reads = one.reads.map(({ at, rows, shift }) => ({ text: texts[at] ?? "", rows, shift }));
    texts.push(described(one, openerOf(one), reads));
  }
  return texts.filter((_, at) => fed[at]?.kind !== "prompt").sort();
}

function trainedTexts(
  { live, frozen, frozenPrompts }: AssembledItem,
  promptStarts: Map<string, number>,
): string[] {
  const texts = new Map<string, string>();
  const promptText = (start: number) => described({ kind: "prompt", start, tokens: [] }, 0, []);
  for (const [id, start] of promptStarts) texts.set(id, promptText(start));
  for (const { id, start } of frozenPrompts) texts.set(id, promptText(start));
  const left = [...live, ...frozen];
  const all: string[] = [];
  while (left.length > 0) {
    const at = left.findIndex(({ reads }) => reads.every(({ id }) => texts.has(id)));
    const [one] = left.splice(at, 1);
    if (at < 0 || one === undefined) throw new Error("reads go in circles");
    const reads = one.reads.map(({ id, rows, shift }) => ({ text: texts.get(id) ?? "", rows, shift }));
    texts.set(one.id, described(one, openerRows(one.site), reads));
    all.push(texts.get(one.id) ?? "");
  }
  return all.sort();
}

describe.each(["contiguous", "concatenated"] as const)("layout %s", (layout) => {
  test("a run and a training feed the same rows", async () => {
    const chain = everyStep(model, layout);
    const { promptOf } = planChain(chain.definition.steps);
    // prompts of as many rows as are trained, so that positions are comparable
    const nine = { text: "x", virtualTokens: 9 };
    const served = chain.withPrompts(Object.fromEntries([...promptOf.keys()].map((one) => [one, nine])));
    const fed = await fedBy(() => served.run(everyInput).result);
    const trained = ["compress", "turns.think", "answer"];
    const item = await assembled(served.definition, trained);
    const starts = new Map<string, number>();
    for (const [place, [site, id]] of [...promptOf].entries()) {
      if (trained.includes(site)) starts.set(id, layout === "contiguous" ? -9 : 9 * place);
    }
    // behind its opener a run appends an output's last token, when somebody still reads it
    const thought = String([...model.tokenizer.encode("\nThought:", { specials: true })]);
    const openerOf = ({ tokens }: Fed) => {
      if (String(tokens).startsWith(thought)) return openerRows("think");
      return tokens[0] === model.tokenizer.bosId ? 1 : 0;
    };
    const wanted = servedTexts(fed, openerOf);
    expect(wanted.length).toBe(layout === "contiguous" ? 16 : 12);
    expect(trainedTexts(item, starts)).toEqual(wanted);
  });
});
