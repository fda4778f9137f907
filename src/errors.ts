// SPDX-License-Identifier: Apache-2.0
// Every failure of the library is a BatonError: a stable `code`, the `facts` (thing, value, limits) as data, and a
// message that ends with the remedy. Aborts are the exception: they surface as the signal's own reason.
//
// Test with `BatonError.isInstance(e)` or `CacheBudgetError.isInstance(e)`, never with `instanceof`: two installed
// copies of the package have two classes but one marker.

export const errorCodes = [
  "MODEL_FORMAT",
  "MODEL_UNSUPPORTED",
  "OUT_OF_MEMORY",
  "DEVICE_UNAVAILABLE",
  "CACHE_BUDGET",
  "CONTEXT_LIMIT",
  "PROMPT_INVALID",
  "CHAIN_INVALID",
  "OPTION_INVALID",
  "DATA_INVALID",
  "DATA_CHANGED",
  "KV_MISMATCH",
  "SNAPSHOT_INVALID",
  "QUEUE_FULL",
  "CLOSED",
  "SOURCE_FAILED",
  "TOKENIZER_UNSUPPORTED",
  "TEMPLATE_INVALID",
  "NATIVE_LOAD",
  "STEP_FAILED",
  "TUNING_DIVERGED",
  "CHECKPOINT_INVALID",
  "NOT_FINITE",
  "CONSTRAINT_INVALID",
  "CONSTRAINT_UNAVAILABLE",
  "OUTPUT_INVALID",
  "IO",
  "INTERNAL",
  "ABORTED",
] as const;

export type ErrorCode = (typeof errorCodes)[number];

export type FactValue = string | number | boolean | readonly string[] | readonly number[];
/** What the message says, as data: names, values, limits. Bytes are plain numbers. */
export type ErrorFacts = Readonly<Record<string, FactValue>>;

export interface ErrorInit {
  facts?: ErrorFacts;
  cause?: unknown;
}

/** A BatonError class that stands for one code. */
export interface ErrorClass<E extends BatonError> {
  new (...args: never[]): E;
  readonly code: ErrorCode | null;
}

const marker: unique symbol = Symbol.for("baton-lm.error");

export class BatonError extends Error {
  /** The code this class stands for; null for the base class, which stands for all. */
  static readonly code: ErrorCode | null = null;

  readonly code: ErrorCode;
  readonly facts: ErrorFacts;
  readonly [marker] = true;

  constructor(code: ErrorCode, message: string, init: ErrorInit = {}) {
    super(message, init.cause === undefined ? undefined : { cause: init.cause });
    this.code = code;
    this.facts = init.facts ?? {};
    this.name = new.target.name;
  }

  /** True for an error of this class from any installed copy of the package. */
  static isInstance<E extends BatonError>(this: ErrorClass<E>, value: unknown): value is E {
    if (typeof value !== "object" || value === null || !(marker in value)) return false;
    return this.code === null || (value as { code?: unknown }).code === this.code;
  }
}

/** The file is not what it claims to be: magic, counts, offsets, types, missing tensors. */
export class ModelFormatError extends BatonError {
  static override readonly code = "MODEL_FORMAT" as const;
  constructor(message: string, init?: ErrorInit) {
    super("MODEL_FORMAT", message, init);
  }
}

/** A valid model that this version cannot run: family, weight type. */
export class ModelUnsupportedError extends BatonError {
  static override readonly code = "MODEL_UNSUPPORTED" as const;
  constructor(message: string, init?: ErrorInit) {
    super("MODEL_UNSUPPORTED", message, init);
  }
}

/** Weights or workspace do not fit the memory this process may take. */
export class OutOfMemoryError extends BatonError {
  static override readonly code = "OUT_OF_MEMORY" as const;
  constructor(message: string, init?: ErrorInit) {
    super("OUT_OF_MEMORY", message, init);
  }
}

/** A device that cannot be used here; facts: device, reason (no-driver, no-device, driver-too-old, ...) and what it names. */
export class DeviceUnavailableError extends BatonError {
  static override readonly code = "DEVICE_UNAVAILABLE" as const;
  constructor(message: string, init?: ErrorInit) {
    super("DEVICE_UNAVAILABLE", message, init);
  }
}

/** The KV pool's budget is spent; facts: needed and free bytes. */
export class CacheBudgetError extends BatonError {
  static override readonly code = "CACHE_BUDGET" as const;
  constructor(message: string, init?: ErrorInit) {
    super("CACHE_BUDGET", message, init);
  }
}

/** A frame (prompt rows + everything read + own rows) is longer than the model's context. */
export class ContextLimitError extends BatonError {
  static override readonly code = "CONTEXT_LIMIT" as const;
  constructor(message: string, init?: ErrorInit) {
    super("CONTEXT_LIMIT", message, init);
  }
}

/** A soft prompt that cannot be used: width, shape, NaN, missing files. */
export class PromptInvalidError extends BatonError {
  static override readonly code = "PROMPT_INVALID" as const;
  constructor(message: string, init?: ErrorInit) {
    super("PROMPT_INVALID", message, init);
  }
}

/** The chain's definition or its inputs contradict the rules; facts name step and value. */
export class ChainInvalidError extends BatonError {
  static override readonly code = "CHAIN_INVALID" as const;
  constructor(message: string, init?: ErrorInit) {
    super("CHAIN_INVALID", message, init);
  }
}

/** An option's value is outside its range. */
export class OptionInvalidError extends BatonError {
  static override readonly code = "OPTION_INVALID" as const;
  constructor(message: string, init?: ErrorInit) {
    super("OPTION_INVALID", message, init);
  }
}

/** Training data that cannot be learned from; facts name the record (line or index) and the field. */
export class DataInvalidError extends BatonError {
  static override readonly code = "DATA_INVALID" as const;
  constructor(message: string, init?: ErrorInit) {
    super("DATA_INVALID", message, init);
  }
}

/** A data file is no longer what was checked before the first step. */
export class DataChangedError extends BatonError {
  static override readonly code = "DATA_CHANGED" as const;
  constructor(message: string, init?: ErrorInit) {
    super("DATA_CHANGED", message, init);
  }
}

/** A snapshot of another model, tokenizer, KV format, prompt, chain or release; facts: field, expected, found. */
export class KvMismatchError extends BatonError {
  static override readonly code = "KV_MISMATCH" as const;
  constructor(message: string, init?: ErrorInit) {
    super("KV_MISMATCH", message, init);
  }
}

/** A snapshot that is damaged or cut off; facts: path if it is a file, part (head, block, ...), block. */
export class SnapshotInvalidError extends BatonError {
  static override readonly code = "SNAPSHOT_INVALID" as const;
  constructor(message: string, init?: ErrorInit) {
    super("SNAPSHOT_INVALID", message, init);
  }
}

/** More runs at once than the model's limits let wait; facts: runs in progress and waiting, and the limits. */
export class QueueFullError extends BatonError {
  static override readonly code = "QUEUE_FULL" as const;
  constructor(message: string, init?: ErrorInit) {
    super("QUEUE_FULL", message, init);
  }
}

/** Use of a model, segment or run after close(). */
export class ClosedError extends BatonError {
  static override readonly code = "CLOSED" as const;
  constructor(message: string, init?: ErrorInit) {
    super("CLOSED", message, init);
  }
}

/** No source could give the model file; facts list each source with its reason. */
export class SourceFailedError extends BatonError {
  static override readonly code = "SOURCE_FAILED" as const;
  constructor(message: string, init?: ErrorInit) {
    super("SOURCE_FAILED", message, init);
  }
}

/** The file's tokenizer cannot be rebuilt without guessing. */
export class TokenizerUnsupportedError extends BatonError {
  static override readonly code = "TOKENIZER_UNSUPPORTED" as const;
  constructor(message: string, init?: ErrorInit) {
    super("TOKENIZER_UNSUPPORTED", message, init);
  }
}

/** A chat template that does not parse or render. */
export class TemplateInvalidError extends BatonError {
  static override readonly code = "TEMPLATE_INVALID" as const;
  constructor(message: string, init?: ErrorInit) {
    super("TEMPLATE_INVALID", message, init);
  }
}

/** The compiled addon was not found or did not load; facts list each path tried with its reason. */
export class NativeLoadError extends BatonError {
  static override readonly code = "NATIVE_LOAD" as const;
  constructor(message: string, init?: ErrorInit) {
    super("NATIVE_LOAD", message, init);
  }
}

/** The program's own code between stages threw; `cause` is what it threw. */
export class StepFailedError extends BatonError {
  static override readonly code = "STEP_FAILED" as const;
  constructor(message: string, init?: ErrorInit) {
    super("STEP_FAILED", message, init);
  }
}

/** Loss, gradient or values of a tuning step are no numbers any more; facts: step, learning rate, what it was. */
export class TuningDivergedError extends BatonError {
  static override readonly code = "TUNING_DIVERGED" as const;
  constructor(message: string, init?: ErrorInit) {
    super("TUNING_DIVERGED", message, init);
  }
}

/** A checkpoint that is damaged, of another format version, or of another run; facts name the difference. */
export class CheckpointInvalidError extends BatonError {
  static override readonly code = "CHECKPOINT_INVALID" as const;
  constructor(message: string, init?: ErrorInit) {
    super("CHECKPOINT_INVALID", message, init);
  }
}

/** With `watchNumbers`: a result of a forward is NaN or infinite; facts: op, layer (where it has one) and row. */
export class NotFiniteError extends BatonError {
  static override readonly code = "NOT_FINITE" as const;
  constructor(message: string, init?: ErrorInit) {
    super("NOT_FINITE", message, init);
  }
}

/** An `output` (schema or regular expression) that no text satisfies, or that grammars cannot follow; facts: option, problem. */
export class ConstraintInvalidError extends BatonError {
  static override readonly code = "CONSTRAINT_INVALID" as const;
  constructor(message: string, init?: ErrorInit) {
    super("CONSTRAINT_INVALID", message, init);
  }
}

/** An `output` is asked for, and this build of the addon has no grammars. */
export class ConstraintUnavailableError extends BatonError {
  static override readonly code = "CONSTRAINT_UNAVAILABLE" as const;
  constructor(message: string, init?: ErrorInit) {
    super("CONSTRAINT_UNAVAILABLE", message, init);
  }
}

/** A text is there and is not the `output` that was asked for; facts: text, and the reason why it ended. */
export class OutputInvalidError extends BatonError {
  static override readonly code = "OUTPUT_INVALID" as const;
  /** What a validating schema says of it; none where the text ended too early. */
  readonly issues: readonly { readonly message: string; readonly path?: readonly unknown[] | undefined }[];
  constructor(message: string, init: ErrorInit & { issues?: OutputInvalidError["issues"] } = {}) {
    super("OUTPUT_INVALID", message, init);
    this.issues = init.issues ?? [];
  }

  /** What was written. */
  get text(): string {
    return String(this.facts.text ?? "");
  }
}

/** The file system or the network refused; `cause` is the system's error. */
export class IoError extends BatonError {
  static override readonly code = "IO" as const;
  constructor(message: string, init?: ErrorInit) {
    super("IO", message, init);
  }
}

/** A broken promise of the library itself: always worth a report. */
export class InternalError extends BatonError {
  static override readonly code = "INTERNAL" as const;
  constructor(message: string, init?: ErrorInit) {
    super("INTERNAL", message, init);
  }
}

/** A job stopped by cancelJob; users see their signal's reason instead. */
export class AbortedError extends BatonError {
  static override readonly code = "ABORTED" as const;
  constructor(message: string, init?: ErrorInit) {
    super("ABORTED", message, init);
  }
}

const classes = [
  ModelFormatError,
  ModelUnsupportedError,
  OutOfMemoryError,
  DeviceUnavailableError,
  CacheBudgetError,
  ContextLimitError,
  PromptInvalidError,
  ChainInvalidError,
  OptionInvalidError,
  DataInvalidError,
  DataChangedError,
  KvMismatchError,
  SnapshotInvalidError,
  QueueFullError,
  ClosedError,
  SourceFailedError,
  TokenizerUnsupportedError,
  TemplateInvalidError,
  NativeLoadError,
  StepFailedError,
  TuningDivergedError,
  CheckpointInvalidError,
  NotFiniteError,
  ConstraintInvalidError,
  ConstraintUnavailableError,
  OutputInvalidError,
  IoError,
  InternalError,
  AbortedError,
] as const;

const classByCode = new Map<ErrorCode, (typeof classes)[number]>(classes.map((one) => [one.code, one]));

/** The typed error for a code that arrived as plain data (from the addon). An unknown code becomes InternalError. */
export function errorFromCode(code: string, message: string, init: ErrorInit = {}): BatonError {
  const found = classByCode.get(code as ErrorCode);
  if (found !== undefined) return new found(message, init);
  return new InternalError(message, { ...init, facts: { ...init.facts, nativeCode: code } });
}
