// SPDX-License-Identifier: Apache-2.0
// The training task of a chain: items are records of its data, parameters are the rows of some of its prompts. An
// item's frozen rows are computed by ordinary jobs and kept; its live rows go into the step as tokens with labels.

import { createHash } from "node:crypto";
import type { Segment } from "../cache/segment.js";
import { contractDifferences, contractOfUse, differenceMessage } from "../chain/contract.js";
import type { ChainDefinition } from "../chain/definition.js";
import { placeSegment } from "../chain/frame.js";
import { sitesOf } from "../chain/names.js";
import type { StageSettings } from "../chain/options.js";
import type { Plan, SegmentId } from "../chain/plan.js";
import { planChain } from "../chain/plan.js";
import { InternalError } from "../errors.js";
import type { Model } from "../model/model.js";
import type { PromptContract, PromptSource, ResolvedPrompt } from "../model/prompt.js";
import { resolvePrompt } from "../model/prompt.js";
import type { NativeTrainItem, NativeTrainRead, NativeTrainStep } from "../native/types.js";
import type { AssembledItem, AssembledRead, Frame } from "./assemble.js";
import { assembleItem } from "./assemble.js";
import type { DataItem } from "./data.js";
import type { FrozenKv, FrozenStore } from "./frozen.js";
import { computeFrozen, frozenBytesOf, PoolStore } from "./frozen.js";
import { FrozenDisk } from "./frozen-disk.js";
import type { FrozenPlace } from "./frozen-place.js";
import { NativeParameters } from "./native-parameters.js";
import { kindsOf, sitesBehind } from "./plan.js";
import type { Origin, RecordValues } from "./record.js";
import type {
  HeldParameters,
  LossOfItems,
  Parameter,
  ParameterNumbers,
  PreparedItem,
  RowCounts,
  TrainingTask,
} from "./task.js";

export interface ChainTaskInit {
  definition: ChainDefinition;
  /** Virtual tokens by the site of the stage whose prompt is trained. */
  trained: ReadonlyMap<string, number>;
  /** Sites of the stages whose outputs are scored. */
  labelled: ReadonlySet<string>;
  /** Most bytes of frozen KV kept between steps. */
  frozenBytes: number;
  /** Where frozen KV is kept besides; null: nowhere. */
  disk: FrozenPlace | null;
  /** Most bytes of activations in a step. */
  activationBytes: number;
}

/** An item with what a step reads of it. */
class ReadyItem implements PreparedItem {
  readonly origin: string;
  readonly rows: RowCounts;
  readonly reused: number;
  /** Names the item in the store. */
  readonly key: object;
  readonly assembled: AssembledItem;
  readonly frozen: FrozenKv;
  released = false;

  constructor(key: DataItem, frozen: FrozenKv, kept: boolean) {
    this.origin = key.origin.label;
    this.rows = frozen.item.rows;
    this.reused = kept ? this.rows.frozen : frozen.found;
    this.key = key;
    this.assembled = frozen.item;
    this.frozen = frozen;
  }
}

function ready(item: PreparedItem): ReadyItem {
  if (item instanceof ReadyItem && !item.released) return item;
  throw new InternalError(`"${item.origin}" was not prepared, or was released.`);
}

export class ChainTask implements TrainingTask<DataItem> {
  readonly parameters: readonly Parameter[];
  readonly definition: ChainDefinition;
  readonly #frame: Frame;
  readonly #model: Model;
  readonly #plan: Plan;
  readonly #prompts: ReadonlyMap<string, ResolvedPrompt>;
  readonly #store: FrozenStore;
  readonly #disk: FrozenDisk | null;
  readonly #activationBytes: number;

  private constructor(init: ChainTaskInit, prompts: ReadonlyMap<string, ResolvedPrompt>) {
    const { definition, trained, labelled } = init;
    const { model, layout, steps } = definition;
    const settings = new Map<string, StageSettings>();
    for (const { step, site } of sitesOf(steps))
      if (step.settings !== undefined) settings.set(site, step.settings);
    const rows = [...prompts].map(([site, { count }]) => [site, count] as const);
    this.definition = definition;
    this.parameters = [...trained].map(([stage, rows]) => ({ stage, rows, hidden: model.info.hidden }));
    this.#model = model;
    this.#prompts = prompts;
    this.#plan = planChain(steps, { slots: new Set(trained.keys()) });
    this.#frame = {
      tokenizer: model.tokenizer,
      contextLength: model.info.contextLength,
      layout,
      steps,
      settings,
      trained: new Set(trained.keys()),
      labelled,
      promptRows: new Map([...rows, ...trained]),
    };
    this.#store = new PoolStore(model, init.frozenBytes);
    const promptOf = (site: string) => this.#prompt(site);
    const { disk } = init;
    this.#disk = disk === null ? null : new FrozenDisk({ ...disk, budget: disk.bytes, model, promptOf });
    this.#activationBytes = init.activationBytes;
  }

  /** Loads the prompts that labels depend on and that are not trained. Throws what loading them throws. */
  static async create(init: ChainTaskInit): Promise<ChainTask> {
    const { model, steps, layout } = init.definition;
    const { trained, labelled } = init;
    const prompts = new Map<string, ResolvedPrompt>();
    const needed = sitesBehind(planChain(steps, { slots: new Set(trained.keys()) }), labelled);
    for (const { step, site } of sitesOf(steps)) {
      // on one line of positions everything stands behind all prompts
      const isNeeded = layout === "concatenated" || needed.has(site);
      const prompt = trained.has(site) || !isNeeded ? null : await step.loadPrompt?.(model);
      if (prompt) prompts.set(site, prompt);
    }
    return new ChainTask(init, prompts);
  }

  /** How prompts that are not trained, and what they write does not change either, are used otherwise than trained. */
  warnings(): string[] {
    const { model, layout } = this.definition;
    const { settings, trained, labelled } = this.#frame;
    const { segments, promptOf } = this.#plan;
    const idsOf = (sites: ReadonlySet<string>) =>
      new Set([...sites].flatMap((site) => promptOf.get(site) ?? []));
    const outputs = segments.filter((one) => one.kind === "output" && labelled.has(one.site));
    const kinds = kindsOf(this.#plan, idsOf(trained), new Set(outputs.map(({ id }) => id)));
    return [...this.#prompts].flatMap(([stage, prompt]) => {
      const output = segments.find((one) => one.kind === "output" && one.site === stage);
      const own = settings.get(stage);
      if (own === undefined || kinds.get(output?.id ?? "") !== "frozen") return [];
      const use = { model, plan: this.#plan, layout, stage, settings: own, prompts: this.#prompts };
      const differences = contractDifferences(prompt, use);
      return differences.length === 0 ? [] : [differenceMessage(stage, prompt.label, differences)];
    });
  }

  /** Throws INTERNAL for a site that is no stage. */
  settingsOf(site: string): StageSettings {
    const found = this.#frame.settings.get(site);
    if (found === undefined) throw new InternalError(`Stage "${site}" has no settings.`);
    return found;
  }

  /** The prompts that are trained: their segments, and where their row 0 stands. */
  trainedPrompts(): { stage: string; id: SegmentId; start: number }[] {
    return this.parameters.map(({ stage }) => {
      return { stage, id: this.#plan.promptOf.get(stage) as SegmentId, start: this.#startOf(stage) };
    });
  }

  /** What a step reads of a prepared item: its rows, and the frozen segments and prompts, held until its release. */
  partsOf(item: PreparedItem): { assembled: AssembledItem; segments: ReadonlyMap<SegmentId, Segment> } {
    const { assembled, frozen } = ready(item);
    return { assembled, segments: frozen.segments };
  }

  /** Rows of the prompt of a stage, trained or not; 0 without one. */
  promptRows(site: string): number {
    return this.#frame.promptRows.get(site) ?? 0;
  }

  /** SHA-256, hex, of all that rows depend on besides the data and the trained prompts. */
  get hash(): string {
    const { layout, settings, labelled } = this.#frame;
    const { segments, inputs } = this.#plan;
    const stages = [...settings].map(([site, { own, opener, lead, closers }]) => {
      const prompt = this.#prompts.get(site)?.hash ?? null;
      return { site, own, opener, lead, closers, prompt };
    });
    const all = { layout, segments, inputs: [...inputs], stages, labelled: [...labelled] };
    return createHash("sha256").update(JSON.stringify(all)).digest("hex");
  }

  /** Rows of a record without computing any. Throws DATA_INVALID, CONTEXT_LIMIT, CHAIN_INVALID. */
  assemble(values: RecordValues, origin: Origin): AssembledItem {
    return assembleItem(this.#frame, values, origin);
  }

  async prepare(item: DataItem, signal?: AbortSignal): Promise<PreparedItem> {
    signal?.throwIfAborted();
    const { kv, kept } = await this.#store.hold(item, async (claim) => {
      const assembled = this.assemble(await item.read(), item.origin);
      signal?.throwIfAborted();
      await claim(frozenBytesOf(this.#model.info, assembled).computed);
      signal?.throwIfAborted();
      const compute = (restored?: ReadonlyMap<SegmentId, Segment>) =>
        computeFrozen(this.#model, assembled, (site) => this.#prompt(site), restored, signal);
      return this.#disk === null ? compute() : this.#disk.hold(assembled, compute, signal);
    });
    try {
      if (kept) await item.verify();
      signal?.throwIfAborted();
      return new ReadyItem(item, kv, kept);
    } catch (error) {
      this.#store.release(item);
      throw error;
    }
  }

  #prompt(site: string): ResolvedPrompt {
    const found = this.#prompts.get(site);
    if (found === undefined) throw new InternalError(`The prompt of "${site}" was not loaded.`);
    return found;
  }

  async loss(
    items: readonly PreparedItem[],
    values: readonly Float32Array[],
    { gradient, scale, signal }: { gradient: boolean; scale: number; signal?: AbortSignal },
  ): Promise<LossOfItems> {
    const { step, trained } = this.step(items, values, { gradient, scale });
    const { losses, gradients, rowsComputed } = await this.#model.engine.train(step, signal);
    if (!gradient) return { losses, gradients: [], rowsComputed };
    const all = this.parameters.map(({ stage, rows, hidden }) => {
      const at = trained.indexOf(stage);
      return at < 0 ? new Float32Array(rows * hidden) : (gradients[at] as Float32Array);
    });
    return { losses, gradients: all, rowsComputed };
  }

  hold(numbers: ParameterNumbers): Promise<HeldParameters> {
    return NativeParameters.create(this.#model.engine, numbers, (items, options) => {
      return this.step(items, null, options).step;
    });
  }

  /**
   * The step as it crosses to the engine; only prompts that an item depends on are in it, `trained` by site. Without
   * values they are named by the index of the parameter.
   */
  step(
    items: readonly PreparedItem[],
    values: readonly Float32Array[] | null,
    { gradient, scale }: { gradient: boolean; scale: number },
  ): { step: NativeTrainStep; trained: readonly string[] } {
    const all = items.map(ready);
    const used = new Set(all.flatMap(({ assembled }) => assembled.trained));
    const present = this.parameters.filter(({ stage }) => used.has(stage));
    const trained = present.map(({ stage }) => stage);
    const prompts = present.map((parameter) => {
      const start = this.#startOf(parameter.stage);
      const index = this.parameters.indexOf(parameter);
      return values === null ? { start, trained: index } : { start, rows: values[index] as Float32Array };
    });
    const promptAt = new Map(trained.map((site, at) => [this.#plan.promptOf.get(site) as SegmentId, at]));
    return {
      step: {
        prompts,
        items: all.map((item) => nativeItem(item, promptAt, scale)),
        gradient,
        activationBytes: this.#activationBytes,
      },
      trained,
    };
  }

  /** Position of row 0 of a trained prompt: it depends on prompts only, so it is the same for every item. */
  #startOf(site: string): number {
    const rowsOf = (id: SegmentId) => this.#frame.promptRows.get(this.#plan.byId.get(id)?.site ?? "") ?? 0;
    return placeSegment(this.#plan, this.#frame.layout, this.#plan.promptOf.get(site) ?? "", rowsOf).start;
  }

  release(item: PreparedItem): void {
    if (!(item instanceof ReadyItem) || item.released) return;
    item.released = true;
    this.#store.release(item.key);
  }

  /** Gives up all frozen rows that are kept; those of prepared items go with their release. Idempotent. */
  close(): void {
    this.#store.close();
  }

  /** The trained prompts with these values, by the site of the stage: what a chain takes to run under them. */
  prompts(values: readonly Float32Array[]): Record<string, PromptSource> {
    const entries = this.parameters.map(({ stage, rows }, at) => {
      return [stage, { rows: values[at] as Float32Array, count: rows }] as const;
    });
    return Object.fromEntries(entries);
  }

  /** Contracts of the trained prompts with these values, by parameter: what each was trained under. */
  async contracts(values: readonly Float32Array[]): Promise<PromptContract[]> {
    const { model, layout } = this.definition;
    const prompts = new Map(this.#prompts);
    const target = { hidden: model.info.hidden, tokenizer: model.tokenizer };
    for (const [stage, source] of Object.entries(this.prompts(values))) {
      prompts.set(stage, await resolvePrompt(source, target));
    }
    return this.parameters.map(({ stage }) => {
      const settings = this.settingsOf(stage);
      return contractOfUse({ model, plan: this.#plan, layout, stage, settings, prompts });
    });
  }
}

function nativeItem(
  { assembled, frozen }: ReadyItem,
  promptAt: ReadonlyMap<SegmentId, number>,
  scale: number,
): NativeTrainItem {
  const liveAt = new Map(assembled.live.map(({ id }, at) => [id, at]));
  const read = ({ id, rows, shift }: AssembledRead): NativeTrainRead => {
    const segment = frozen.segments.get(id);
    if (segment !== undefined) return segment.read(rows, shift);
    const prompt = promptAt.get(id);
    if (prompt !== undefined) return { prompt, rows, shift };
    const live = liveAt.get(id);
    if (live === undefined) throw new InternalError(`A live row reads "${id}", which is nowhere.`);
    return { live, rows, shift };
  };
  const segments = assembled.live.map(({ kind, start, tokens, labels, reads }) => ({
    kind,
    start,
    tokens,
    labels,
    reads: reads.map(read),
  }));
  return { segments, scale };
}
