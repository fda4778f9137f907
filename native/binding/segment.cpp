// SPDX-License-Identifier: Apache-2.0
#include "binding/arguments.h"
#include "binding/exports.h"
#include "binding/handles.h"
#include "binding/values.h"

namespace baton {
SegmentSpec parseSegment(const Napi::Object& object) {
  SegmentSpec spec{
      parseKind(asString(object.Get("kind"), "kind")), asInt(object.Get("start"), "start"), {}, {}};
  if (object.Has("salt")) spec.salt = asString(object.Get("salt"), "salt");
  const Napi::Array reads = asArray(object.Get("reads"), "reads");
  for (uint32_t i = 0; i < reads.Length(); ++i) {
    const Napi::Object read = asObject(reads.Get(i), "read");
    spec.reads.push_back({openSegment(read.Get("segment")), asInt(read.Get("rows"), "rows"),
                          asInt(read.Get("shift"), "shift")});
  }
  return spec;
}

Napi::Value createSegment(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Engine> engine = openEngine(info[0]);
  SegmentSpec spec = parseSegment(asObject(info[1], "spec"));
  auto handle = std::make_unique<SegmentHandle>();
  handle->segment = engine->createSegment(std::move(spec));
  napi_value value = wrapHandle(info.Env(), std::move(handle));
  if (value == nullptr) throw Error(code::kInternal, "cannot create a segment handle");
  return Napi::Value(info.Env(), value);
}

Napi::Value segmentInfo(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Segment> segment = openSegment(info[0]);
  const int rows = segment->rows();
  const size_t blocks = segment->blockCount();
  JsWriter js(info.Env());
  napi_value object = js.object();
  js.set(object, "rows", js.number(rows));
  js.set(object, "blocks", js.number(double(blocks)));
  js.set(object, "bytes", js.number(double(blocks * segment->pool()->shape().blockBytes())));
  js.set(object, "closed", js.boolean(segment->closed()));
  js.set(object, "identity", js.string(segment->identity(rows)));
  return Napi::Value(info.Env(), object);
}

Napi::Value closeSegment(const Napi::CallbackInfo& info) {
  const SegmentHandle& handle = unwrapHandle<SegmentHandle>(info[0]);
  if (handle.segment) handle.segment->close();
  return info.Env().Undefined();
}

// Beside the handle, if its blocks are not to be kept as usual: "none" or "resume", and for how
// many milliseconds.
Napi::Value releaseSegment(const Napi::CallbackInfo& info) {
  SegmentHandle& handle = unwrapHandle<SegmentHandle>(info[0]);
  if (handle.segment && !info[1].IsUndefined()) {
    const std::string retain = asString(info[1], "retain");
    if (retain != "none" && retain != "resume") throw wrongType("retain", "none or resume");
    Retention retention{retain == "none" ? Retain::kDrop : Retain::kResume, 0};
    if (!info[2].IsUndefined()) retention.until = Ranking::now() + asNumber(info[2], "forMs");
    handle.segment->retain(retention);
  }
  handle.segment.reset();
  return info.Env().Undefined();
}

}  // namespace baton
