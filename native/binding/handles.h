// SPDX-License-Identifier: Apache-2.0
// Handles that JavaScript holds: type-tagged externals, so that a wrong handle is a thrown error
// and never memory corruption. Finalisers are the backstop; close and release are idempotent.
#pragma once

#include <napi.h>

#include <memory>
#include <string>

#include "binding/channel.h"
#include "cache/snapshot.h"
#include "engine/engine.h"
#include "tune/train_step.h"
#include "tune/train_update.h"

namespace baton {

// One address of this copy of the addon: a handle made by another copy, whose structures may
// differ, is refused.
inline uint64_t copyTag() {
  static const char anchor = 0;
  return reinterpret_cast<uintptr_t>(&anchor);
}

struct ModelHandle {
  static napi_type_tag tag() { return {0x6261746f6e2d6d6fULL, copyTag()}; }
  static constexpr const char* kName = "model";

  std::shared_ptr<Engine> engine;  // null when closed
  std::shared_ptr<Channel> channel;
  std::shared_ptr<TrainWorkspace> training = std::make_shared<TrainWorkspace>();

  ~ModelHandle() {
    if (engine) engine->close();
    if (channel) channel->close();
  }
};

struct SegmentHandle {
  static napi_type_tag tag() { return {0x6261746f6e2d7365ULL, copyTag()}; }
  static constexpr const char* kName = "segment";

  std::shared_ptr<Segment> segment;  // null when released
};

// A snapshot that is streamed out of the pool has a source, one that is restored the others.
struct SnapshotHandle {
  static napi_type_tag tag() { return {0x6261746f6e2d736eULL, copyTag()}; }
  static constexpr const char* kName = "snapshot";

  std::shared_ptr<SnapshotSource> source;
  std::shared_ptr<ReadFile> file;  // null: of a stream
  std::shared_ptr<SnapshotHead> head;
  std::shared_ptr<SnapshotRestore> restore;  // once it has blocks
};

// What outputs of a model may be.
struct GrammarHandle {
  static napi_type_tag tag() { return {0x6261746f6e2d6772ULL, copyTag()}; }
  static constexpr const char* kName = "grammar";

  std::shared_ptr<const Grammar> grammar;
};

struct TrainedHandle {
  static napi_type_tag tag() { return {0x6261746f6e2d7472ULL, copyTag()}; }
  static constexpr const char* kName = "trained prompts";

  std::shared_ptr<TrainedPrompts> prompts;  // null when released
};

// Null when the environment no longer takes calls; the handle is deleted then.
template <class Handle>
napi_value wrapHandle(napi_env env, std::unique_ptr<Handle> handle) {
  napi_value value = nullptr;
  const auto finalise = [](napi_env, void* data, void*) { delete static_cast<Handle*>(data); };
  if (napi_create_external(env, handle.get(), finalise, nullptr, &value) != napi_ok) return nullptr;
  handle.release();  // NOLINT: the external owns it now
  const napi_type_tag tag = Handle::tag();
  return napi_type_tag_object(env, value, &tag) == napi_ok ? value : nullptr;
}

template <class Handle>
Handle& unwrapHandle(const Napi::Value& value) {
  const napi_type_tag tag = Handle::tag();
  bool tagged = false;
  void* data = nullptr;
  if (!value.IsExternal() ||
      napi_check_object_type_tag(value.Env(), value, &tag, &tagged) != napi_ok || !tagged ||
      napi_get_value_external(value.Env(), value, &data) != napi_ok) {
    throw Error(code::kOptionInvalid,
                std::string("expected a ") + Handle::kName + " handle of this addon");
  }
  return *static_cast<Handle*>(data);
}

// Shared: a getter among the other arguments may close the model in the middle of a call.
inline std::shared_ptr<Engine> openEngine(const Napi::Value& value) {
  const ModelHandle& handle = unwrapHandle<ModelHandle>(value);
  if (!handle.engine) throw Error(code::kClosed, "the model is closed; load it again");
  return handle.engine;
}

inline std::shared_ptr<Segment> openSegment(const Napi::Value& value) {
  const SegmentHandle& handle = unwrapHandle<SegmentHandle>(value);
  if (!handle.segment) throw Error(code::kClosed, "the segment was released");
  return handle.segment;
}

inline std::shared_ptr<TrainedPrompts> openTrained(const Napi::Value& value) {
  const TrainedHandle& handle = unwrapHandle<TrainedHandle>(value);
  if (!handle.prompts) throw Error(code::kClosed, "the trained prompts were released");
  return handle.prompts;
}

SegmentSpec parseSegment(const Napi::Object& object);  // segment.cpp

inline SegmentKind parseKind(const std::string& name) {
  if (name == "prompt") return SegmentKind::kPrompt;
  if (name == "input") return SegmentKind::kInput;
  if (name == "output") return SegmentKind::kOutput;
  throw Error(code::kOptionInvalid,
              "segment kind is \"" + name + "\"; it must be prompt, input or output");
}

}  // namespace baton
