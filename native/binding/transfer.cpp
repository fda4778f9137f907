// SPDX-License-Identifier: Apache-2.0
// KV of segments in and out of the pool. Copying takes place off the JavaScript thread.
#include <memory>
#include <vector>

#include "binding/arguments.h"
#include "binding/exports.h"
#include "binding/handles.h"
#include "binding/task.h"
#include "cache/transfer.h"

namespace baton {
namespace {

class ExportTask : public Task {
 public:
  explicit ExportTask(std::shared_ptr<Segment> segment) : segment_(std::move(segment)) {}

 private:
  void execute() override {
    bytes_.resize(kvBytes(segment_->pool()->shape(), segment_->rows()));
    readKv(*segment_, reinterpret_cast<std::byte*>(bytes_.data()));
  }
  napi_value result(napi_env env) override {
    JsWriter js(env);
    napi_value value = js.bytes(bytes_);
    return js.ok() ? value : nullptr;
  }

  std::shared_ptr<Segment> segment_;
  std::string bytes_;
};

class ImportTask : public Task {
 public:
  ImportTask(std::shared_ptr<Engine> engine, KvSpec spec, std::string bytes)
      : engine_(std::move(engine)), spec_(std::move(spec)), bytes_(std::move(bytes)) {}

 private:
  void execute() override {
    segment_ = engine_->restoreSegment(spec_, reinterpret_cast<const std::byte*>(bytes_.data()),
                                       bytes_.size());
  }
  napi_value result(napi_env env) override {
    auto handle = std::make_unique<SegmentHandle>();
    handle->segment = std::move(segment_);
    return wrapHandle(env, std::move(handle));
  }

  std::shared_ptr<Engine> engine_;
  KvSpec spec_;
  std::string bytes_;
  std::shared_ptr<Segment> segment_;
};

}  // namespace

Napi::Value exportSegment(const Napi::CallbackInfo& info) {
  std::shared_ptr<Segment> segment = openSegment(info[0]);
  if (!segment->closed() || segment->appending())
    throw Error(code::kOptionInvalid, "only a closed segment can be exported; close it first");
  return Task::start(info.Env(), new ExportTask(std::move(segment)));
}

Napi::Value importSegment(const Napi::CallbackInfo& info) {
  std::shared_ptr<Engine> engine = openEngine(info[0]);
  const Napi::Object object = asObject(info[1], "spec");
  KvSpec spec;
  spec.kind = parseKind(asString(object.Get("kind"), "kind"));
  spec.start = asInt(object.Get("start"), "start");
  spec.rows = asInt(object.Get("rows"), "rows");
  spec.name = asString(object.Get("name"), "name");
  const auto bytes = asTyped<Napi::Uint8Array>(info[2], napi_uint8_array, "bytes", "a Uint8Array");
  // Copied: the array may change or be detached while the task runs.
  std::string copy(reinterpret_cast<const char*>(bytes.Data()), bytes.ElementLength());
  return Task::start(info.Env(),
                     new ImportTask(std::move(engine), std::move(spec), std::move(copy)));
}

}  // namespace baton
