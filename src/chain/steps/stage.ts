// SPDX-License-Identifier: Apache-2.0
// A stage: a specialist (one soft prompt over the frozen model) that reads earlier segments and writes an output. Its
// part of a run is one job: what earlier steps still owe, its own inputs, its opener, then generation.

import { telling } from "../../cache/generation.js";
import { grammarOf, objectOf, outputSpec } from "../../cache/grammar.js";
import { Output, paceOf } from "../../cache/output.js";
import { generateSpec } from "../../cache/output-options.js";
import type { Segment } from "../../cache/segment.js";
import type { Model } from "../../model/model.js";
import type { ResolvedPrompt } from "../../model/prompt.js";
import { resolvePrompt } from "../../model/prompt.js";
import type { GenerateSpec, GrammarHandle } from "../../native/types.js";
import { contractDifferences, differenceMessage } from "../contract.js";
import type { Ahead, Found } from "../lane.js";
import type { StageSettings } from "../options.js";
import { checkStageOptions, stageOwner } from "../options.js";
import type { SegmentId } from "../plan.js";
import type { EndedStage } from "../run-record.js";
import type { RunState } from "../run-state.js";
import type { Scope } from "../scope.js";
import { openerTokens } from "../tokens.js";
import type { StageOptions, StageResult, StageUsage } from "../types.js";
import type { Step } from "./step.js";

export function createStageStep(name: string, options: StageOptions<string, string>): Step {
  const settings = checkStageOptions(name, options);
  const load = promptLoader(settings);
  return {
    name,
    claims: settings.own,
    claimable: false,
    given: false,
    settings,
    loadPrompt: load,
    withPrompt: (prompt) => createStageStep(name, { ...options, prompt }),
    plan(planner) {
      const stage = planner.nameOf(name);
      const prompt = planner.promptsOf(name, settings);
      const reads = planner.resolve(name, settings.reads, planner.shared(["input", "output"]));
      const own = planner.takeOwn(settings.own, { stage, prompt, reads });
      planner.share("output", name, stage, [...prompt, ...reads, ...own]);
    },
    async prepare(run, site) {
      // Closers, biased tokens, what the output must be: before anything is computed.
      await run.lane.race(outputSpec(stageOwner(name), run.model, settings));
      const prompt = await run.lane.race(load(run.model));
      if (prompt !== null) run.setPrompt(site, prompt);
    },
    warn: (run, site) => warnOfDifferences(run, site, settings),
    execute: (scope) => runStage(scope, name, settings),
  };
}

/** Loads the prompt once per model; a failure is not remembered. */
function promptLoader({ prompt }: StageSettings): (model: Model) => Promise<ResolvedPrompt | null> {
  const loaded = new WeakMap<Model, Promise<ResolvedPrompt>>();
  return async (model) => {
    if (prompt === null) return null;
    let resolving = loaded.get(model);
    if (resolving === undefined) {
      resolving = resolvePrompt(prompt, { hidden: model.info.hidden, tokenizer: model.tokenizer });
      loaded.set(model, resolving);
      resolving.catch(() => loaded.delete(model));
    }
    return resolving;
  };
}

const warned = new WeakSet<ResolvedPrompt>();

function warnOfDifferences(run: RunState, stage: string, settings: StageSettings): void {
  const { model, plan, layout, prompts } = run;
  const prompt = prompts.get(stage);
  if (prompt === undefined) return;
  const differences = contractDifferences(prompt, { model, plan, layout, stage, settings, prompts });
  if (differences.length === 0) return;
  const message = differenceMessage(stage, prompt.label, differences);
  const first = plan.segments.find((one) => one.kind === "output" && one.site === stage);
  run.emit({ type: "warning", stage: first?.name ?? stage, message });
  if (!warned.has(prompt)) process.emitWarning(message, { type: "BatonWarning", code: "PROMPT_CONTRACT" });
  warned.add(prompt);
}

async function runStage(scope: Scope, step: string, settings: StageSettings): Promise<void> {
  const began = performance.now();
  const { run, lane } = scope;
  const { id, name, site, reads } = scope.segmentOf(step);
  const { model, record } = run;
  const ended = record.ended(id);
  if (ended !== null) return replayStage(scope, step, settings, ended);
  // Before the stage begins and after it has ended: what lies between is whole for whoever saves the run.
  const form = settings.output;
  const grammar = form === null ? null : await grammarOf(stageOwner(name), model, form);
  const begun = record.begin(id);
  run.emit({ type: "stage-start", stage: name });
  const promptRows = await run.holdPrompt(site);
  const reused = reads.filter((one) => run.isWritten(one));
  for (const one of reads) if (!run.isWritten(one)) await lane.ensure(one);
  const hasOwn = settings.own.length > 0;
  const opener = openerTokens(model.tokenizer, name, settings.opener, hasOwn, run.startOf(id) === 0);
  const left = run.contextLeft(id, opener.length, 1);
  const ahead = lane.takeAhead();
  const rowsReused = announceReuse(scope, name, reused, { promptRows, ahead });
  const spec = specOf(scope, name, settings, { left, grammar, prior: begun?.tokens ?? [] });
  const there = run.restoredRows(id);
  const segment = run.open(id);
  const output = new Output(model, {
    lead: settings.lead,
    logprobs: settings.logprobs !== null,
    emit: (delta) => run.emit({ type: "text-delta", stage: name, ...delta }),
  });
  if (begun !== null) output.resume(begun.tokens, begun.logprobs);
  record.write(id, { opener: Array.from(opener), output, most: spec.maxTokens - 1 });
  const submitted = performance.now();
  const last = { id, append: segment.appendTokens(record.tokensOf(id).subarray(there)) };
  const outcome = await lane.job(last, spec, opener.length + spec.maxTokens, {
    onProgress: (done, total) => tellPrefill(run, name, done, total),
    onFound: (found) => announceFound(run, name, found, id),
    onTier: (segment, move) => run.emit({ type: "cache-tier", stage: name, segment, ...move }),
    onTokens: telling(output, spec.maxTokens, { onProgress: run.onProgress, stage: name }),
  });
  output.end(outcome);
  settleOutput(scope, id, segment, outcome.pending);
  const { reason, timeToFirstTokenMs, tokensPerSecond } = paceOf(outcome);
  const usage: StageUsage = {
    tokens: outcome.stats.tokens,
    draftedTokens: outcome.stats.draftedTokens,
    acceptedTokens: outcome.stats.acceptedTokens,
    rowsComputed: outcome.stats.rowsComputed + promptRows + ahead.rowsComputed,
    rowsReused: rowsReused + ahead.rowsFound + outcome.stats.rowsFound,
    timeToFirstTokenMs: submitted - began + timeToFirstTokenMs,
    tokensPerSecond,
    kvBytes: run.bytesOf([...reads, id]),
  };
  run.releaseUnread();
  const { text, tokens, figures } = output;
  const { closing } = figures;
  const result = { text, tokens, ...figures, reason, usage } satisfies StageResult;
  record.end(id, { opener: Array.from(opener), result });
  const object = form === null ? {} : await objectOf(stageOwner(name), form, { ...outcome, text, reason });
  scope.set(step, { ...result, ...object });
  run.emit({ type: "stage-end", stage: name, text, reason, ...(closing && { closing }), usage });
}

function tellPrefill(run: RunState, stage: string, done: number, total: number): void {
  run.emit({ type: "prefill", stage, done, total });
  run.onProgress?.({ phase: "prefill", stage, done, total });
}

/** The stage ended before the run was resumed: its events in short, and its KV where a later step reads it. */
async function replayStage(
  scope: Scope,
  step: string,
  settings: StageSettings,
  ended: EndedStage,
): Promise<void> {
  const { run, lane } = scope;
  const { id, name: stage } = scope.segmentOf(step);
  const { result } = ended;
  run.emit({ type: "stage-start", stage });
  run.setLength(id, ended.opener.length + result.tokens.length);
  if (run.isStillRead(id) && run.restoredRows(id) > 0) await lane.ensure(id);
  run.end(id);
  run.releaseUnread();
  const { text, reason, closing, usage, logprobs } = result;
  if (text !== "") run.emit({ type: "text-delta", stage, text, ...(logprobs && { logprobs }) });
  const form = settings.output;
  const whole = { text, reason, accepted: true };
  const object = form === null ? {} : await objectOf(stageOwner(stage), form, whole);
  scope.set(step, { ...result, ...object });
  run.emit({ type: "stage-end", stage, text, reason, ...(closing && { closing }), usage });
}

/** What a segment begun for the stage had in the index. Of its own output, `own`, rows that were not are no miss. */
function announceFound(
  run: RunState,
  stage: string,
  { segment, found, missed, reason }: Found,
  own?: SegmentId,
): void {
  if (found > 0) run.emit({ type: "cache-hit", stage, segment, rows: found });
  if (reason === "none" || segment === own) return;
  run.emit({ type: "cache-miss", stage, segment, rows: missed, reason });
}

/**
 * One event per segment whose KV was there; returns their rows. Segments begun ahead of the stage are told as those
 * that its own job begins; rows of its prompt computed just now were not there.
 */
function announceReuse(
  { run, lane }: Scope,
  stage: string,
  reused: readonly SegmentId[],
  { promptRows, ahead }: { promptRows: number; ahead: Ahead },
): number {
  for (const [segment, move] of ahead.moves) run.emit({ type: "cache-tier", stage, segment, ...move });
  for (const found of ahead.begun) announceFound(run, stage, found);
  const begun = new Set(ahead.begun.map(({ segment }) => segment));
  let sum = 0;
  for (const segment of reused) {
    if (begun.has(segment)) continue;
    const computed = run.segment(segment).kind === "prompt" ? promptRows : 0;
    const rows = lane.computedRows(segment) - computed;
    sum += rows;
    if (rows > 0) run.emit({ type: "cache-hit", stage, segment, rows });
  }
  return sum;
}

interface Place {
  /** Tokens that the context still holds. */
  left: number;
  grammar: GrammarHandle | null;
  /** Tokens that the output goes on behind. */
  prior: readonly number[];
}

/** What the stage generates by: its settings with the run's seed, within what the context holds. */
function specOf(
  { run, seed }: Scope,
  name: string,
  settings: StageSettings,
  { left, grammar, prior }: Place,
): GenerateSpec {
  const { sampler, maxTokens } = settings;
  const spec = generateSpec(stageOwner(name), run.model, {
    ...settings,
    sampler: { ...sampler, seed: (sampler.seed + seed) % 2 ** 32 },
    maxTokens: Math.min(maxTokens, left),
  });
  return {
    ...spec,
    ...(grammar !== null && { grammar }),
    ...(prior.length > 0 && { prior: Int32Array.from(prior) }),
  };
}

/** The last token becomes a row only if a later step reads the output: it is owed to the next job. */
function settleOutput({ run, lane }: Scope, id: SegmentId, segment: Segment, pending: number): void {
  const owed = pending >= 0 ? 1 : 0;
  run.setLength(id, segment.info().rows + owed);
  if (owed === 1 && run.isStillRead(id)) lane.enqueue(id, segment.appendTokens(Int32Array.of(pending)));
  else segment.close();
  run.end(id);
}
