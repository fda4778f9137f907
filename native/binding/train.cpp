// SPDX-License-Identifier: Apache-2.0
#include "binding/arguments.h"
#include "binding/exports.h"
#include "binding/handles.h"
#include "tune/train_step.h"

namespace baton {
namespace {

std::vector<int32_t> parseIds(const Napi::Value& value, const char* name) {
  const auto ids = asTyped<Napi::Int32Array>(value, napi_int32_array, name, "an Int32Array");
  return {ids.Data(), ids.Data() + ids.ElementLength()};
}

TrainRead parseRead(const Napi::Object& object) {
  TrainRead read;
  const Napi::Value segment = object.Get("segment");
  const Napi::Value prompt = object.Get("prompt");
  const Napi::Value live = object.Get("live");
  if (!segment.IsUndefined()) read.segment = openSegment(segment);
  if (!prompt.IsUndefined()) read.prompt = asInt(prompt, "prompt");
  if (!live.IsUndefined()) read.live = asInt(live, "live");
  read.rows = asInt(object.Get("rows"), "rows");
  read.shift = asInt(object.Get("shift"), "shift");
  return read;
}

TrainSegment parseSegment(const Napi::Object& object) {
  TrainSegment segment;
  const std::string kind = asString(object.Get("kind"), "kind");
  if (kind != "input" && kind != "output") throw wrongType("kind", "input or output");
  segment.kind = kind == "input" ? SegmentKind::kInput : SegmentKind::kOutput;
  segment.start = asInt(object.Get("start"), "start");
  segment.tokens = parseIds(object.Get("tokens"), "tokens");
  segment.labels = parseIds(object.Get("labels"), "labels");
  const Napi::Array reads = asArray(object.Get("reads"), "reads");
  for (uint32_t i = 0; i < reads.Length(); ++i)
    segment.reads.push_back(parseRead(asObject(reads.Get(i), "read")));
  return segment;
}

TrainItem parseItem(const Napi::Object& object) {
  TrainItem item;
  item.scale = static_cast<float>(asNumber(object.Get("scale"), "scale"));
  const Napi::Array segments = asArray(object.Get("segments"), "segments");
  for (uint32_t i = 0; i < segments.Length(); ++i)
    item.segments.push_back(parseSegment(asObject(segments.Get(i), "segment")));
  return item;
}

TrainPrompt parsePrompt(const Napi::Object& object) {
  TrainPrompt prompt;
  prompt.start = asInt(object.Get("start"), "start");
  const Napi::Value trained = object.Get("trained");
  if (!trained.IsUndefined()) {
    prompt.trained = asInt(trained, "trained");
    if (prompt.trained < 0) throw wrongType("trained", "an index");
    return prompt;
  }
  const auto rows =
      asTyped<Napi::Float32Array>(object.Get("rows"), napi_float32_array, "rows", "a Float32Array");
  prompt.rows.assign(rows.Data(), rows.Data() + rows.ElementLength());
  return prompt;
}

}  // namespace

Napi::Value submitTrainStep(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Engine> engine = openEngine(info[0]);
  const ModelHandle& handle = unwrapHandle<ModelHandle>(info[0]);
  const std::shared_ptr<Channel> channel = handle.channel;
  const std::shared_ptr<TrainWorkspace> workspace = handle.training;
  const Napi::Object object = asObject(info[1], "step");
  TrainStepSpec spec;
  const Napi::Array prompts = asArray(object.Get("prompts"), "prompts");
  for (uint32_t i = 0; i < prompts.Length(); ++i)
    spec.prompts.push_back(parsePrompt(asObject(prompts.Get(i), "prompt")));
  const Napi::Array items = asArray(object.Get("items"), "items");
  for (uint32_t i = 0; i < items.Length(); ++i)
    spec.items.push_back(parseItem(asObject(items.Get(i), "item")));
  spec.gradient = asBoolean(object.Get("gradient"), "gradient");
  const Napi::Value trained = object.Get("trained");
  if (!trained.IsUndefined()) {
    const Napi::Object where = asObject(trained, "trained");
    spec.trained = openTrained(where.Get("prompts"));
    spec.accumulate = asBoolean(where.Get("accumulate"), "accumulate");
  }
  const double bytes = asNumber(object.Get("activationBytes"), "activationBytes");
  if (!(bytes >= 0 && bytes < 0x1p53)) throw wrongType("activationBytes", "a number of bytes");
  spec.activationBytes = static_cast<size_t>(bytes);
  checkTrainStep(spec, engine->model(), *engine->pool());
  const uint64_t id = engine->submit(std::make_shared<TrainStep>(std::move(spec), workspace));
  channel->jobSubmitted();
  return Napi::Number::New(info.Env(), double(id));
}

}  // namespace baton
