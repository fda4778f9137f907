// SPDX-License-Identifier: Apache-2.0
// The public names of the package.

import "./node-version.js";

export type { CacheOptions, Retention } from "./cache/cache-options.js";
export type { CacheContent } from "./cache/content.js";
export type { Generation, GenerationOptions, GenerationResult } from "./cache/generation.js";
export type { AppendOptions, AppendUsage, CacheHandle, CacheMark, CacheMatch } from "./cache/handle.js";
export type { OutputFigures, TokenCandidate, TokenLogprob } from "./cache/logprobs.js";
export type { CacheReport } from "./cache/model-cache.js";
export { ModelCache } from "./cache/model-cache.js";
export type { OutputDelta } from "./cache/output.js";
export type { FinishReason, OutputOptions, SamplingOptions } from "./cache/output-options.js";
export type {
  ObjectOf,
  OutputOf,
  OutputSchema,
  SchemaIssue,
  StandardJsonSchema,
  StandardSchema,
} from "./cache/output-schema.js";
export { CachePin } from "./cache/pin.js";
export type { SessionOptions } from "./cache/session.js";
export { Session } from "./cache/session.js";
export type { RestoreReport } from "./cache/snapshot/of-handle.js";
export type { SnapshotSource, SnapshotTarget } from "./cache/snapshot/places.js";
export type { RestoreOptions } from "./cache/snapshot/read.js";
export type { SnapshotOptions, SnapshotReport } from "./cache/snapshot/write.js";
export { Chain, defineChain } from "./chain/chain.js";
export type { JsonSchema } from "./chain/document/contract.js";
export type { ChainDocument, DocumentOptions } from "./chain/document/index.js";
export { chainFromDocument, chainSchema, parseChainDocument } from "./chain/document/index.js";
export type {
  ExplainedGroup,
  ExplainedRead,
  ExplainedSegment,
  Explanation,
  Position,
} from "./chain/explain.js";
export type { PictureKind } from "./chain/pictures/index.js";
export type {
  BranchContext,
  CallContext,
  ChainEvent,
  ChainOptions,
  ChainRun,
  ComputedInput,
  FanOutSource,
  FromContext,
  GivenInput,
  InputResult,
  JoinOptions,
  Layout,
  ResumedRun,
  ResumeOptions,
  ResumeReport,
  RoundContext,
  RoundsOptions,
  RoundsResult,
  RoundsSoFar,
  RunOptions,
  StageOptions,
  StageResult,
  StageUsage,
} from "./chain/types.js";
export * from "./errors.js";
export type { PromptContract } from "./model/contract.js";
export type { ModelActivity } from "./model/model.js";
export { loadModel, Model } from "./model/model.js";
export type { LoadOptions, TierOptions } from "./model/options.js";
export type {
  DecodeProgress,
  LoadProgress,
  OnProgress,
  PrefillProgress,
  Progress,
  SourceProgress,
  TuneProgress,
} from "./model/progress.js";
export type { PromptSource } from "./model/prompt.js";
export type { ResolvedModel, ResolveOptions } from "./model/source.js";
export { resolveModel } from "./model/source.js";
export type {
  ChatMessage,
  ChatTemplate,
  ChatTool,
  ChatToolCall,
  RenderOptions,
  TemplateChoice,
} from "./model/template.js";
export type { EncodeOptions, TokenBytes, Tokenizer, TokenStream } from "./model/tokenizer.js";
export type {
  CachePolicy,
  CacheStats,
  Device,
  DoctorReport,
  Drafting,
  EngineStats,
  IsaName,
  KernelReplacement,
  KernelReport,
  KvType,
  MissReason,
  ModelInfo,
  RestoreMode,
  TierMove,
  TierName,
  TierStats,
} from "./native/types.js";
export type { Curves } from "./tune/curves.js";
export { drawCurves, formatSteps } from "./tune/curves.js";
export type { DataSource } from "./tune/data.js";
export type { ExplainedTuningSegment, TuningExplanation, TuningFlop } from "./tune/explain.js";
export type { TunedPrompt } from "./tune/export.js";
export type { TuneExportOptions, TuneExportResult } from "./tune/export-checkpoint.js";
export type { MethodName, PromptInit } from "./tune/methods/index.js";
export { exactMatch, f1Score, normalizeAnswer } from "./tune/metrics.js";
export type { FieldNames } from "./tune/record.js";
export type { ScheduleName } from "./tune/schedule.js";
export type { GeneratedItem, Score, ScoreFrom, ScoreFunction } from "./tune/score.js";
export type { TrainOptions } from "./tune/settings.js";
export type { Evaluation, StepRows, TuneStep } from "./tune/steps.js";
export type { Parameter, RowCounts } from "./tune/task.js";
export type { TuneOptions, TuneResult, TuneRun } from "./tune/tune.js";
export { PromptsUnwrittenError, tune } from "./tune/tune.js";
export type { StageSite, StageTuning, TuningOptions } from "./tune/tuning.js";
