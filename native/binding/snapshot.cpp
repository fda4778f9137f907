// SPDX-License-Identifier: Apache-2.0
// Snapshots out of the pool and into it. Bytes are moved off the JavaScript thread; what they mean
// is known in src/cache/snapshot.ts, and what protects memory is checked here again.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "binding/arguments.h"
#include "binding/exports.h"
#include "binding/handles.h"
#include "binding/task.h"
#include "cache/snapshot.h"

namespace baton {
namespace {

constexpr int kMostThreads = 4;

int threadsOf(const Engine& engine) {
  return std::min(engine.options().threads, kMostThreads);
}

std::string asBytes(const Napi::Value& value, const char* name) {
  const auto bytes = asTyped<Napi::Uint8Array>(value, napi_uint8_array, name, "a Uint8Array");
  return {reinterpret_cast<const char*>(bytes.Data()), bytes.ElementLength()};
}

size_t asCount(const Napi::Value& value, const char* name) {
  const double number = asNumber(value, name);
  if (!(number >= 0 && number < 0x1p53) || number != std::floor(number))
    throw wrongType(name, "a whole number");
  return static_cast<size_t>(number);
}

SnapshotHead headOf(const Napi::Object& object) {
  SnapshotHead head;
  head.header = asBytes(object.Get("header"), "header");
  head.notes = asBytes(object.Get("notes"), "notes");
  return head;
}

std::shared_ptr<SnapshotSource> sourceOf(const Engine& engine, const Napi::Value& value) {
  auto source = std::make_shared<SnapshotSource>(engine.pool());
  const Napi::Array parts = asArray(value, "parts");
  for (uint32_t i = 0; i < parts.Length(); ++i) {
    const Napi::Object part = asObject(parts.Get(i), "part");
    source->add(*openSegment(part.Get("segment")), asInt(part.Get("rows"), "rows"));
  }
  return source;
}

napi_value wrapSnapshot(napi_env env, std::unique_ptr<SnapshotHandle> handle) {
  const SnapshotHead& head = *handle->head;
  JsWriter js(env);
  napi_value object = js.object();
  js.set(object, "header", js.bytes(head.header));
  js.set(object, "notes", js.bytes(head.notes));
  js.set(object, "blocks", js.number(double(head.checksums.size())));
  js.set(object, "blockBytes", js.number(double(head.blockBytes)));
  js.set(object, "digest", js.string(Sha256::toHex(digestOf(head))));
  js.set(object, "snapshot", wrapHandle(env, std::move(handle)));
  return js.ok() ? object : nullptr;
}

class SaveTask : public Task {
 public:
  SaveTask(std::string path, std::shared_ptr<SnapshotSource> source, SnapshotHead head, int threads,
           bool durable, Cancel cancel)
      : path_(std::move(path)),
        source_(std::move(source)),
        head_(std::move(head)),
        threads_(threads),
        durable_(durable),
        cancel_(std::move(cancel)) {}

 private:
  void execute() override {
    const std::shared_ptr<SnapshotSource> source = std::move(source_);  // blocks go before the end
    bytes_ = writeSnapshot(path_, *source, std::move(head_), threads_, durable_, cancel_.flag());
  }
  napi_value result(napi_env env) override {
    JsWriter js(env);
    napi_value value = js.number(double(bytes_));
    return js.ok() ? value : nullptr;
  }

  std::string path_;
  std::shared_ptr<SnapshotSource> source_;
  SnapshotHead head_;
  int threads_;
  bool durable_;
  Cancel cancel_;
  uint64_t bytes_ = 0;
};

// For a stream: the head, then the blocks as they are asked for.
class SumTask : public Task {
 public:
  SumTask(std::shared_ptr<SnapshotSource> source, SnapshotHead head, int threads, Cancel cancel)
      : source_(std::move(source)),
        head_(std::move(head)),
        threads_(threads),
        cancel_(std::move(cancel)) {}

 private:
  void execute() override {
    sumBlocks(*source_, head_, threads_, cancel_.flag());
    bytes_ = head_.bytes();
  }
  napi_value result(napi_env env) override {
    JsWriter js(env);
    napi_value object = js.object();
    js.set(object, "head", js.bytes(bytes_));
    js.set(object, "blocks", js.number(double(source_->blocks())));
    js.set(object, "blockBytes", js.number(double(source_->blockBytes())));
    auto handle = std::make_unique<SnapshotHandle>();
    handle->source = std::move(source_);
    js.set(object, "snapshot", wrapHandle(env, std::move(handle)));
    return js.ok() ? object : nullptr;
  }

  std::shared_ptr<SnapshotSource> source_;
  SnapshotHead head_;
  int threads_;
  Cancel cancel_;
  std::string bytes_;
};

class BlocksTask : public Task {
 public:
  BlocksTask(std::shared_ptr<SnapshotSource> source, size_t first, size_t count)
      : source_(std::move(source)), first_(first), count_(count) {}

 private:
  void execute() override {
    const size_t bytes = source_->blockBytes();
    bytes_.resize(count_ * bytes);
    std::vector<std::byte> room(bytes);
    for (size_t i = 0; i < count_; ++i) {
      const auto* from = reinterpret_cast<const char*>(source_->block(first_ + i, room.data()));
      std::copy(from, from + bytes, bytes_.data() + i * bytes);
    }
  }
  napi_value result(napi_env env) override {
    JsWriter js(env);
    napi_value value = js.bytes(bytes_);
    return js.ok() ? value : nullptr;
  }

  std::shared_ptr<SnapshotSource> source_;
  size_t first_, count_;
  std::string bytes_;
};

class OpenTask : public Task {
 public:
  explicit OpenTask(std::string path) : path_(std::move(path)) {}

 private:
  void execute() override {
    handle_ = std::make_unique<SnapshotHandle>();
    handle_->file = std::make_shared<ReadFile>(path_);
    handle_->head = std::make_shared<SnapshotHead>(readSnapshotHead(*handle_->file));
  }
  napi_value result(napi_env env) override { return wrapSnapshot(env, std::move(handle_)); }

  std::string path_;
  std::unique_ptr<SnapshotHandle> handle_;
};

// Gives the blocks that are whole, from the first on, and what is wrong with the next.
napi_value outcomeOf(napi_env env, const SnapshotRestore& restore) {
  JsWriter js(env);
  napi_value object = js.object();
  js.set(object, "whole", js.number(double(restore.whole())));
  js.set(object, "fault", js.string(restore.fault() ? restore.fault()->what : std::string()));
  return js.ok() ? object : nullptr;
}

class FillTask : public Task {
 public:
  FillTask(std::shared_ptr<SnapshotRestore> restore, std::shared_ptr<ReadFile> file, int threads,
           Cancel cancel)
      : restore_(std::move(restore)),
        file_(std::move(file)),
        threads_(threads),
        cancel_(std::move(cancel)) {}

 private:
  void execute() override { restore_->fill(*file_, threads_, cancel_.flag()); }
  napi_value result(napi_env env) override { return outcomeOf(env, *restore_); }

  std::shared_ptr<SnapshotRestore> restore_;
  std::shared_ptr<ReadFile> file_;
  int threads_;
  Cancel cancel_;
};

class FeedTask : public Task {
 public:
  FeedTask(std::shared_ptr<SnapshotRestore> restore, std::string bytes, bool last)
      : restore_(std::move(restore)), bytes_(std::move(bytes)), last_(last) {}

 private:
  void execute() override {
    restore_->feed(reinterpret_cast<const std::byte*>(bytes_.data()), bytes_.size());
    if (last_) restore_->end();
  }
  napi_value result(napi_env env) override { return outcomeOf(env, *restore_); }

  std::shared_ptr<SnapshotRestore> restore_;
  std::string bytes_;
  bool last_;
};

SnapshotHandle& snapshotWith(const Napi::Value& value, bool restore) {
  SnapshotHandle& handle = unwrapHandle<SnapshotHandle>(value);
  const bool there = restore ? handle.restore != nullptr : handle.head != nullptr;
  if (!there) throw Error(code::kClosed, "the snapshot was released");
  return handle;
}

// Rows of a segment as the snapshot says that they are: they only have to be possible. `most`: what
// its blocks hold.
void commitContent(Segment& segment, const Napi::Array& runs, const Engine& engine, size_t most) {
  const ModelConfig& config = engine.model().config;
  const auto width = static_cast<size_t>(config.hidden);
  const auto counted = [&](size_t rows) {
    if (rows > most) throw wrongType("content", "no more rows than its blocks hold");
    most -= rows;
    return static_cast<int>(rows);
  };
  for (uint32_t i = 0; i < runs.Length(); ++i) {
    const Napi::Object run = asObject(runs.Get(i), "content");
    if (run.Has("tokens")) {
      const auto tokens =
          asTyped<Napi::Int32Array>(run.Get("tokens"), napi_int32_array, "tokens", "an Int32Array");
      const int32_t* const ids = tokens.Data();
      const auto isToken = [&](int32_t id) { return id >= 0 && id < config.vocab; };
      if (!std::all_of(ids, ids + tokens.ElementLength(), isToken))
        throw wrongType("tokens", "ids of this model's tokens");
      segment.commitTokens(ids, counted(tokens.ElementLength()));
    } else {
      const auto rows = asTyped<Napi::Float32Array>(run.Get("rows"), napi_float32_array, "rows",
                                                    "a Float32Array");
      if (rows.ElementLength() % width != 0) throw wrongType("rows", "whole rows of the model");
      segment.commitRows(rows.Data(), counted(rows.ElementLength() / width), config.hidden);
    }
  }
  if (most >= kBlockRows) throw wrongType("blocks", "as many as its rows need");
}

}  // namespace

Napi::Value saveSnapshot(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Engine> engine = openEngine(info[0]);
  const Napi::Object object = asObject(info[1], "snapshot");
  SnapshotHead head = headOf(object);
  Cancel cancel(info[2]);
  std::shared_ptr<SnapshotSource> source = sourceOf(*engine, object.Get("parts"));
  return Task::start(info.Env(),
                     new SaveTask(asString(object.Get("path"), "path"), std::move(source),
                                  std::move(head), threadsOf(*engine),
                                  asBoolean(object.Get("durable"), "durable"), std::move(cancel)));
}

Napi::Value streamSnapshot(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Engine> engine = openEngine(info[0]);
  const Napi::Object object = asObject(info[1], "snapshot");
  SnapshotHead head = headOf(object);
  Cancel cancel(info[2]);
  std::shared_ptr<SnapshotSource> source = sourceOf(*engine, object.Get("parts"));
  return Task::start(info.Env(), new SumTask(std::move(source), std::move(head), threadsOf(*engine),
                                             std::move(cancel)));
}

Napi::Value readSnapshotBlocks(const Napi::CallbackInfo& info) {
  std::shared_ptr<SnapshotSource> source = unwrapHandle<SnapshotHandle>(info[0]).source;
  if (source == nullptr) throw Error(code::kClosed, "the snapshot was released");
  const size_t first = asCount(info[1], "first"), count = asCount(info[2], "count");
  if (first > source->blocks() || count > source->blocks() - first)
    throw wrongType("count", "blocks of the snapshot");
  return Task::start(info.Env(), new BlocksTask(std::move(source), first, count));
}

Napi::Value openSnapshot(const Napi::CallbackInfo& info) {
  return Task::start(info.Env(), new OpenTask(asString(info[0], "path")));
}

Napi::Value snapshotHeadBytes(const Napi::CallbackInfo& info) {
  const std::string bytes = asBytes(info[0], "preamble");
  if (bytes.size() < kSnapshotPreamble) throw wrongType("preamble", "as long as it is");
  const uint64_t head =
      SnapshotHead::headBytesOf(reinterpret_cast<const std::byte*>(bytes.data()), std::nullopt);
  return Napi::Number::New(info.Env(), double(head));
}

Napi::Value parseSnapshot(const Napi::CallbackInfo& info) {
  const std::string bytes = asBytes(info[0], "head");
  auto handle = std::make_unique<SnapshotHandle>();
  handle->head = std::make_shared<SnapshotHead>(
      SnapshotHead::parse(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()));
  napi_value value = wrapSnapshot(info.Env(), std::move(handle));
  if (value == nullptr) throw Error(code::kInternal, "cannot create a snapshot handle");
  return Napi::Value(info.Env(), value);
}

// Takes the blocks; of a file, no more than it has.
Napi::Value beginRestore(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Engine> engine = openEngine(info[0]);
  SnapshotHandle& handle = snapshotWith(info[1], false);
  uint64_t there = UINT64_MAX;
  if (handle.file != nullptr) {
    const uint64_t head = handle.head->headBytes(), size = handle.file->size();
    there = size < head ? 0 : (size - head) / handle.head->blockBytes;
  }
  handle.restore = std::make_shared<SnapshotRestore>(engine->pool(), *handle.head, there);
  return info.Env().Undefined();
}

Napi::Value fillRestore(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Engine> engine = openEngine(info[0]);
  const SnapshotHandle& handle = snapshotWith(info[1], true);
  if (handle.file == nullptr) throw Error(code::kOptionInvalid, "the snapshot is no file");
  return Task::start(
      info.Env(), new FillTask(handle.restore, handle.file, threadsOf(*engine), Cancel(info[2])));
}

Napi::Value feedRestore(const Napi::CallbackInfo& info) {
  const SnapshotHandle& handle = snapshotWith(info[0], true);
  return Task::start(info.Env(), new FeedTask(handle.restore, asBytes(info[1], "bytes"),
                                              asBoolean(info[2], "last")));
}

Napi::Value takeSegment(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Engine> engine = openEngine(info[0]);
  const SnapshotHandle& handle = snapshotWith(info[1], true);
  const Napi::Object object = asObject(info[2], "segment");
  auto taken = std::make_unique<SegmentHandle>();
  taken->segment = engine->createSegment(parseSegment(asObject(info[2], "spec")));
  Segment& segment = *taken->segment;
  const size_t first = asCount(object.Get("first"), "first");
  const size_t count = asCount(object.Get("blocks"), "blocks");
  if (handle.restore->pool() != engine->pool())
    throw Error(code::kOptionInvalid, "the snapshot is restored into another model");
  segment.adopt(handle.restore->take(first, count), false);
  segment.setUnfound();
  commitContent(segment, asArray(object.Get("content"), "content"), *engine, count * kBlockRows);
  if (asBoolean(object.Get("close"), "close")) segment.close();
  napi_value value = wrapHandle(info.Env(), std::move(taken));
  if (value == nullptr) throw Error(code::kInternal, "cannot create a segment handle");
  return Napi::Value(info.Env(), value);
}

Napi::Value releaseSnapshot(const Napi::CallbackInfo& info) {
  SnapshotHandle& handle = unwrapHandle<SnapshotHandle>(info[0]);
  handle.source.reset();
  handle.file.reset();
  handle.head.reset();
  handle.restore.reset();
  return info.Env().Undefined();
}

}  // namespace baton
