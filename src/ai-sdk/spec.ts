// SPDX-License-Identifier: Apache-2.0
// What of AI SDK's language model specification is spoken here, in types of our own: they hold for version 3 (AI SDK 6)
// and version 4 (AI SDK 7) alike, and need neither installed. What comes in is wider than both, what goes out narrower,
// so that the models fit either; test/ai-sdk has the compiler compare them.

export type SpecificationVersion = "v3" | "v4";

export type JsonValue = null | string | number | boolean | JsonValue[] | JsonObject;
export type JsonObject = { [key: string]: JsonValue | undefined };

export type Warning =
  | { type: "unsupported"; feature: string; details?: string }
  | { type: "compatibility"; feature: string; details?: string }
  | { type: "other"; message: string };

export type ToolResultOutput =
  | { type: "text" | "error-text"; value: string }
  | { type: "json" | "error-json"; value: unknown }
  | { type: "execution-denied"; reason?: string | undefined }
  | { type: "content"; value: readonly { type: string; text?: string | undefined }[] };

export interface ToolCallPart {
  type: "tool-call";
  toolCallId: string;
  toolName: string;
  input: unknown;
}

export interface ToolResultPart {
  type: "tool-result";
  toolCallId: string;
  toolName: string;
  output: ToolResultOutput;
}

export interface FilePart {
  type: "file";
  mediaType: string;
  /** Version 3: bytes, base64 or a URL; version 4: one of them, or a text, behind a `type`. */
  data: unknown;
}

export type MessagePart =
  | { type: "text" | "reasoning"; text: string }
  | FilePart
  | ToolCallPart
  | ToolResultPart
  | { type: "reasoning-file" | "custom" | "tool-approval-response" };

export type Message =
  | { role: "system"; content: string }
  | { role: "user" | "assistant" | "tool"; content: readonly MessagePart[] };

export interface FunctionTool {
  type: "function";
  name: string;
  description?: string | undefined;
  inputSchema: unknown;
}

export type Tool = FunctionTool | { type: "provider"; id: string; name: string };

export type ToolChoice = { type: "auto" | "none" | "required" } | { type: "tool"; toolName: string };

export type ResponseFormat =
  | { type: "text" }
  | {
      type: "json";
      schema?: unknown;
      name?: string | undefined;
      description?: string | undefined;
    };

/** State of a caller that makes several calls; not in a released version of the specification yet. */
export interface CallSession {
  getOrSet<T>(
    key: string | symbol,
    createValue: () => T,
    options?: { onDestroy?: (value: T) => void | PromiseLike<void> },
  ): T;
}

export interface CallOptions {
  prompt: readonly Message[];
  maxOutputTokens?: number | undefined;
  temperature?: number | undefined;
  stopSequences?: readonly string[] | undefined;
  topP?: number | undefined;
  topK?: number | undefined;
  presencePenalty?: number | undefined;
  frequencyPenalty?: number | undefined;
  seed?: number | undefined;
  responseFormat?: ResponseFormat | undefined;
  tools?: readonly Tool[] | undefined;
  toolChoice?: ToolChoice | undefined;
  abortSignal?: AbortSignal | undefined;
  experimental_session?: CallSession | undefined;
  /** Version 4. */
  reasoning?: string | undefined;
  providerOptions?: Readonly<Record<string, Readonly<Record<string, unknown>>>> | undefined;
}

export interface FinishReason {
  unified: "stop" | "length" | "tool-calls" | "error";
  raw: string;
}

export interface Usage {
  /** Rows; the three last ones add up to `total`. */
  inputTokens: { total: number; noCache: number; cacheRead: number; cacheWrite: number };
  outputTokens: { total: number; text: number; reasoning: number };
  raw: JsonObject;
}

export type ProviderMetadata = { baton: JsonObject };

export interface ToolCall {
  type: "tool-call";
  toolCallId: string;
  toolName: string;
  /** JSON, if the model wrote JSON. */
  input: string;
}

export type Content = { type: "text" | "reasoning"; text: string } | ToolCall;

/** What a model streams between its metadata and its end. */
export type ContentPart =
  | { type: "text-start" | "text-end" | "reasoning-start" | "reasoning-end"; id: string }
  | { type: "text-delta" | "reasoning-delta"; id: string; delta: string }
  | { type: "tool-input-start"; id: string; toolName: string }
  | { type: "tool-input-delta"; id: string; delta: string }
  | { type: "tool-input-end"; id: string }
  | ToolCall;

export interface Finish {
  type: "finish";
  finishReason: FinishReason;
  usage: Usage;
  providerMetadata: ProviderMetadata;
}

export interface ResponseMetadata {
  id: string;
  timestamp: Date;
  modelId: string;
}

export type StreamPart =
  | { type: "stream-start"; warnings: Warning[] }
  | ({ type: "response-metadata" } & ResponseMetadata)
  | ContentPart
  | Finish
  | { type: "error"; error: unknown };

export interface GenerateResult {
  content: Content[];
  finishReason: FinishReason;
  usage: Usage;
  providerMetadata: ProviderMetadata;
  response: ResponseMetadata;
  warnings: Warning[];
}

export interface StreamResult {
  stream: ReadableStream<StreamPart>;
}

/** A language model as `generateText` and `streamText` of AI SDK take one. */
export interface BatonLanguageModel<Version extends SpecificationVersion = SpecificationVersion> {
  readonly specificationVersion: Version;
  readonly provider: string;
  readonly modelId: string;
  /** None: no file is fetched here. */
  readonly supportedUrls: Record<string, RegExp[]>;
  doGenerate(options: CallOptions): Promise<GenerateResult>;
  doStream(options: CallOptions): Promise<StreamResult>;
}
