// SPDX-License-Identifier: Apache-2.0
// What stages write when everything that they read is as the record says: each scored output is generated from its
// opener on, behind the gold texts, under the prompts as they are then. Frozen rows are those of training, so that of an
// item only live rows are computed, and nothing of what no label depends on.

import { outputSpec } from "../cache/grammar.js";
import type { PromptLease } from "../cache/prompt-cache.js";
import { promptCacheOf } from "../cache/prompt-cache.js";
import type { SegmentView } from "../cache/segment.js";
import { Segment } from "../cache/segment.js";
import { stageOwner } from "../chain/options.js";
import type { SegmentId } from "../chain/plan.js";
import { openerTokens } from "../chain/tokens.js";
import { InternalError } from "../errors.js";
import type { Model } from "../model/model.js";
import { OutputText } from "../model/output-text.js";
import type { PromptSource } from "../model/prompt.js";
import { resolvePrompt } from "../model/prompt.js";
import type { Append } from "../native/types.js";
import type { AssembledItem, AssembledSegment } from "./assemble.js";
import type { ChainTask } from "./chain-task.js";
import type { DataItem } from "./data.js";

export class GoldWriter {
  readonly #task: ChainTask;
  readonly #leases: readonly (readonly [SegmentId, PromptLease])[];

  private constructor(task: ChainTask, leases: readonly (readonly [SegmentId, PromptLease])[]) {
    this.#task = task;
    this.#leases = leases;
  }

  /** `prompts`: the trained ones, by the site of their stage; their KV is held until `close`. */
  static async open(task: ChainTask, prompts: Readonly<Record<string, PromptSource>>): Promise<GoldWriter> {
    const { model } = task.definition;
    const leases: [SegmentId, PromptLease][] = [];
    try {
      for (const { stage, id, start } of task.trainedPrompts()) {
        const target = { hidden: model.info.hidden, tokenizer: model.tokenizer };
        const resolved = await resolvePrompt(prompts[stage] as PromptSource, target);
        leases.push([id, await promptCacheOf(model).acquire(resolved, start)]);
      }
    } catch (error) {
      for (const [, lease] of leases) lease.release();
      throw error;
    }
    return new GoldWriter(task, leases);
  }

  /** Texts of the item's scored outputs, by name. */
  async write(item: DataItem, signal: AbortSignal): Promise<Record<string, string>> {
    const prepared = await this.#task.prepare(item, signal);
    const { assembled, segments } = this.#task.partsOf(prepared);
    const found = new Map(segments);
    for (const [id, lease] of this.#leases) found.set(id, lease.segment);
    const writing = new Writing(this.#task, found, signal);
    try {
      return await writing.run(assembled);
    } finally {
      writing.release();
      this.#task.release(prepared);
    }
  }

  close(): void {
    for (const [, lease] of this.#leases) lease.release();
  }
}

/** One item. */
class Writing {
  readonly #model: Model;
  readonly #task: ChainTask;
  readonly #found: Map<SegmentId, Segment>;
  readonly #signal: AbortSignal;
  readonly #own: Segment[] = [];
  /** Gold rows that the next output is generated behind. */
  #waiting: Append[] = [];

  constructor(task: ChainTask, found: Map<SegmentId, Segment>, signal: AbortSignal) {
    this.#model = task.definition.model;
    this.#task = task;
    this.#found = found;
    this.#signal = signal;
  }

  async run({ live }: AssembledItem): Promise<Record<string, string>> {
    const isRead = new Set(live.flatMap(({ reads }) => reads.map(({ id }) => id)));
    const texts: Record<string, string> = {};
    for (const one of live) {
      const isScored = one.kind === "output" && one.labels.some((label) => label >= 0);
      if (isScored) texts[one.id] = await this.#generate(one);
      if (!isRead.has(one.id)) continue;
      const gold = this.#open(one);
      this.#found.set(one.id, gold);
      this.#waiting.push({ ...gold.appendTokens(one.tokens), close: true });
    }
    return texts;
  }

  release(): void {
    for (const one of this.#own) one.release();
  }

  #open({ kind, start, reads }: AssembledSegment): Segment {
    const views = reads.map(({ id, rows, shift }): SegmentView => {
      const segment = this.#found.get(id);
      if (segment === undefined) throw new InternalError(`A scored output reads "${id}", which is nowhere.`);
      return { segment, rows, shift };
    });
    const segment = new Segment(this.#model.engine, { kind, start, reads: views });
    this.#own.push(segment);
    return segment;
  }

  async #generate(output: AssembledSegment): Promise<string> {
    const { engine, info, tokenBytes, tokenizer } = this.#model;
    const settings = this.#task.settingsOf(output.site);
    const { opener, own, lead } = settings;
    const first = openerTokens(tokenizer, output.id, opener, own.length > 0, output.start === 0);
    const segment = this.#open(output);
    const left = info.contextLength - this.#task.promptRows(output.site) - output.start - first.length;
    const maxTokens = Math.min(settings.maxTokens, Math.max(1, left));
    const within = { ...settings, maxTokens, logprobs: null };
    const text = new OutputText(tokenBytes, lead, () => {});
    const appends = [...this.#waiting, segment.appendTokens(first)];
    this.#waiting = [];
    const generate = await outputSpec(stageOwner(output.id), this.#model, within);
    const outcome = await engine.run(
      { appends, logits: "none", generate },
      { signal: this.#signal, onTokens: (ids) => text.push(ids) },
    );
    text.end(outcome.tail);
    return text.text;
  }
}
