// SPDX-License-Identifier: Apache-2.0
#include "binding/arguments.h"
#include "binding/exports.h"
#include "binding/handles.h"

namespace baton {
namespace {

Append parseAppend(const Napi::Object& object, const Engine& engine) {
  Append append;
  append.segment = openSegment(object.Get("segment"));
  if (object.Has("tokens")) {
    const auto tokens = asTyped<Napi::Int32Array>(object.Get("tokens"), napi_int32_array, "tokens",
                                                  "an Int32Array");
    append.tokens.assign(tokens.Data(), tokens.Data() + tokens.ElementLength());
    append.count = static_cast<int>(append.tokens.size());
  } else {
    const auto rows = asTyped<Napi::Float32Array>(object.Get("rows"), napi_float32_array, "rows",
                                                  "a Float32Array");
    append.embeddings.assign(rows.Data(), rows.Data() + rows.ElementLength());
    append.count = static_cast<int>(append.embeddings.size() /
                                    static_cast<size_t>(engine.model().config.hidden));
  }
  const Napi::Value close = object.Get("close");
  if (!close.IsUndefined()) append.close = asBoolean(close, "close");
  return append;
}

// Absent: `fallback`.
double numberOr(const Napi::Object& object, const char* name, double fallback) {
  const Napi::Value value = object.Get(name);
  return value.IsUndefined() ? fallback : asNumber(value, name);
}

void parseBias(const Napi::Value& value, SamplerOptions& options) {
  if (value.IsUndefined()) return;
  const Napi::Object object = asObject(value, "logitBias");
  const auto ids = asTyped<Napi::Int32Array>(object.Get("ids"), napi_int32_array, "logitBias.ids",
                                             "an Int32Array");
  const auto values = asTyped<Napi::Float32Array>(object.Get("values"), napi_float32_array,
                                                  "logitBias.values", "a Float32Array");
  options.biasIds.assign(ids.Data(), ids.Data() + ids.ElementLength());
  options.biases.assign(values.Data(), values.Data() + values.ElementLength());
}

SamplerOptions parseSampler(const Napi::Object& object) {
  SamplerOptions options;
  options.temperature = static_cast<float>(asNumber(object.Get("temperature"), "temperature"));
  options.topK = asInt(object.Get("topK"), "topK");
  options.topP = static_cast<float>(asNumber(object.Get("topP"), "topP"));
  options.minP = static_cast<float>(asNumber(object.Get("minP"), "minP"));
  options.repetitionPenalty =
      static_cast<float>(asNumber(object.Get("repetitionPenalty"), "repetitionPenalty"));
  options.presencePenalty = static_cast<float>(numberOr(object, "presencePenalty", 0));
  options.frequencyPenalty = static_cast<float>(numberOr(object, "frequencyPenalty", 0));
  parseBias(object.Get("logitBias"), options);
  const double seed = asNumber(object.Get("seed"), "seed");
  if (!(seed >= 0 && seed < 0x1p53)) throw wrongType("seed", "an integer from 0 to 2^53 - 1");
  options.seed = static_cast<uint64_t>(seed);
  return options;
}

GenerateSpec parseGenerate(const Napi::Object& object) {
  GenerateSpec spec;
  spec.sampler = parseSampler(asObject(object.Get("sampler"), "sampler"));
  const auto closers = asTyped<Napi::Int32Array>(object.Get("closers"), napi_int32_array, "closers",
                                                 "an Int32Array");
  spec.closers.assign(closers.Data(), closers.Data() + closers.ElementLength());
  const Napi::Array stops = asArray(object.Get("stops"), "stops");
  for (uint32_t i = 0; i < stops.Length(); ++i) {
    const Napi::Value stop = stops.Get(i);
    const auto bytes = asTyped<Napi::Uint8Array>(stop, napi_uint8_array, "stops", "Uint8Arrays");
    spec.stops.emplace_back(reinterpret_cast<const char*>(bytes.Data()), bytes.ElementLength());
  }
  spec.maxTokens = asInt(object.Get("maxTokens"), "maxTokens");
  const Napi::Value logprobs = object.Get("logprobs");
  if (!logprobs.IsUndefined()) spec.logprobs = asInt(logprobs, "logprobs");
  const Napi::Value drafting = object.Get("drafting");
  if (!drafting.IsUndefined()) spec.drafting = asDrafting(drafting);
  const Napi::Value grammar = object.Get("grammar");
  if (!grammar.IsUndefined()) spec.grammar = unwrapHandle<GrammarHandle>(grammar).grammar;
  const Napi::Value forced = object.Get("forced");
  if (!forced.IsUndefined()) {
    const auto ids = asTyped<Napi::Int32Array>(forced, napi_int32_array, "forced", "an Int32Array");
    spec.forced.assign(ids.Data(), ids.Data() + ids.ElementLength());
  }
  const Napi::Value prior = object.Get("prior");
  if (!prior.IsUndefined()) {
    const auto ids = asTyped<Napi::Int32Array>(prior, napi_int32_array, "prior", "an Int32Array");
    spec.prior.assign(ids.Data(), ids.Data() + ids.ElementLength());
  }
  return spec;
}

LogitsWanted parseLogits(const std::string& name) {
  if (name == "none") return LogitsWanted::kNone;
  if (name == "last") return LogitsWanted::kLast;
  if (name == "all") return LogitsWanted::kAll;
  throw Error(code::kOptionInvalid, "logits is \"" + name + "\"; it must be none, last or all");
}

}  // namespace

Napi::Value submit(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Engine> engine = openEngine(info[0]);
  const std::shared_ptr<Channel> channel = unwrapHandle<ModelHandle>(info[0]).channel;
  const Napi::Object object = asObject(info[1], "job");
  Job job;
  const Napi::Array appends = asArray(object.Get("appends"), "appends");
  for (uint32_t i = 0; i < appends.Length(); ++i) {
    job.appends.push_back(parseAppend(asObject(appends.Get(i), "append"), *engine));
  }
  const Napi::Value generate = object.Get("generate");
  if (!generate.IsUndefined()) job.generate = parseGenerate(asObject(generate, "generate"));
  job.logits = parseLogits(asString(object.Get("logits"), "logits"));
  const uint64_t id = engine->submit(std::move(job));
  channel->jobSubmitted();
  return Napi::Number::New(info.Env(), double(id));
}

Napi::Value cancelJob(const Napi::CallbackInfo& info) {
  const ModelHandle& handle = unwrapHandle<ModelHandle>(info[0]);
  const double job = asNumber(info[1], "job");
  if (handle.engine && job >= 0 && job < 0x1p53) handle.engine->cancel(static_cast<uint64_t>(job));
  return info.Env().Undefined();
}

}  // namespace baton
