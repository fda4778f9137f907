// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "base/cpu.h"
#include "binding/arguments.h"
#include "binding/exports.h"
#include "binding/handles.h"
#include "binding/task.h"
#include "binding/values.h"
#include "device/choice.h"
#include "device/device.h"

namespace baton {
namespace {

KvType parseKvType(const std::string& name) {
  for (const KvType type : kKvTypes) {
    if (name == kvTypeName(type)) return type;
  }
  throw Error(code::kOptionInvalid,
              "kvType is \"" + name + "\"; it must be f32, f16, bf16 or int8");
}

size_t asBytes(const Napi::Value& value, const char* name) {
  const double bytes = asNumber(value, name);
  if (!(bytes >= 0 && bytes < 0x1p53)) throw wrongType(name, "a number of bytes");
  return static_cast<size_t>(bytes);
}

// What becomes of KV that nobody holds; each has a default.
void parseRetention(const Napi::Object& object, EngineOptions& options) {
  if (object.Has("cachePolicy")) {
    options.policy = findPolicy(asString(object.Get("cachePolicy"), "cachePolicy"));
    if (options.policy == nullptr) throw wrongType("cachePolicy", "lru or cost");
  }
  if (object.Has("restore")) {
    const std::string mode = asString(object.Get("restore"), "restore");
    if (mode != "faster" && mode != "always" && mode != "never")
      throw wrongType("restore", "faster, always or never");
    options.restore = mode == "faster"   ? RestoreMode::kFaster
                      : mode == "always" ? RestoreMode::kAlways
                                         : RestoreMode::kNever;
  }
  if (!object.Has("cacheTiers")) return;
  const Napi::Array tiers = asArray(object.Get("cacheTiers"), "cacheTiers");
  for (uint32_t i = 0; i < tiers.Length(); ++i) {
    const Napi::Object tier = asObject(tiers.Get(i), "tier");
    TierSpec spec{asString(tier.Get("name"), "name"), asBytes(tier.Get("bytes"), "bytes"), ""};
    if (tier.Has("folder")) spec.folder = asString(tier.Get("folder"), "folder");
    const auto named = [&](const TierKind* kind) { return spec.name == kind->name; };
    if (std::none_of(tierKinds().begin(), tierKinds().end(), named))
      throw wrongType("tier", "host or disk");
    options.tiers.push_back(std::move(spec));
  }
}

EngineOptions parseOptions(const Napi::Object& object) {
  EngineOptions options;
  parseRetention(object, options);
  options.threads = asInt(object.Get("threads"), "threads");
  options.cacheBytes = asBytes(object.Get("cacheBytes"), "cacheBytes");
  options.indexBytes = asBytes(object.Get("indexBytes"), "indexBytes");
  options.kvType = parseKvType(asString(object.Get("kvType"), "kvType"));
  const std::string activations = asString(object.Get("activations"), "activations");
  if (activations != "int8" && activations != "float32") {
    throw Error(code::kOptionInvalid,
                "activations is \"" + activations + "\"; it must be int8 or float32");
  }
  options.int8Activations = activations == "int8";
  options.drafting = asDrafting(object.Get("drafting"));
  options.batchInvariant = asBoolean(object.Get("batchInvariant"), "batchInvariant");
  options.maxBatchRows = asInt(object.Get("maxBatchRows"), "maxBatchRows");
  const Napi::Value watch = object.Get("watchNumbers");
  if (!watch.IsUndefined()) options.watchNumbers = asBoolean(watch, "watchNumbers");
  const Napi::Value trace = object.Get("trace");
  if (!trace.IsUndefined()) options.trace = asString(trace, "trace");
  if (options.threads < 1 || options.threads > 1024) throw wrongType("threads", "from 1 to 1024");
  if (options.maxBatchRows < 1 || options.maxBatchRows > 65536)
    throw wrongType("maxBatchRows", "from 1 to 65536");
  return options;
}

class OpenModel : public Task {
 public:
  OpenModel(std::string path, std::string device, const EngineOptions& options, Cancel cancel,
            std::shared_ptr<Channel> channel)
      : path_(std::move(path)),
        device_(std::move(device)),
        options_(options),
        cancel_(std::move(cancel)),
        channel_(std::move(channel)) {}
  ~OpenModel() override {
    if (channel_) channel_->close();  // the model was not opened
  }

 protected:
  void execute() override {
    DeviceChoice choice = chooseDevice(device_, cudaPlaces());
    options_.cuda = std::move(choice.cuda);
    options_.deviceWhy = std::move(choice.why);
    std::shared_ptr<const Model> model = Model::load(path_, cancel_.flag());
    LoadWatch watch(&cancel_.flag(), [this](uint64_t done, uint64_t total) {
      channel_->post({0, LoadEvent{done, total}});
    });
    engine_ = std::make_shared<Engine>(std::move(model), options_, channel_, &watch);
  }

  napi_value result(napi_env env) override {
    auto handle = std::make_unique<ModelHandle>();
    channel_->attach(engine_);
    handle->engine = std::move(engine_);
    handle->channel = std::move(channel_);
    return wrapHandle(env, std::move(handle));
  }

 private:
  std::string path_;
  std::string device_;
  EngineOptions options_;
  Cancel cancel_;
  std::shared_ptr<Channel> channel_;
  std::shared_ptr<Engine> engine_;
};

class CloseModel : public Task {
 public:
  CloseModel(std::shared_ptr<Engine> engine, std::shared_ptr<Channel> channel)
      : engine_(std::move(engine)), channel_(std::move(channel)) {}

 protected:
  void execute() override {
    if (engine_) engine_->close();
    engine_.reset();
  }

  napi_value result(napi_env env) override {
    if (channel_) channel_->close();
    napi_value undefined = nullptr;
    return napi_get_undefined(env, &undefined) == napi_ok ? undefined : nullptr;
  }

 private:
  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Channel> channel_;
};

}  // namespace

Napi::Value openModel(const Napi::CallbackInfo& info) {
  const std::string path = asString(info[0], "path");
  const Napi::Object given = asObject(info[1], "options");
  const EngineOptions options = parseOptions(given);
  const Napi::Value asked = given.Get("device");
  const std::string device = asked.IsUndefined() ? "cpu" : asString(asked, "device");
  cudaIndexOf(device);  // refused before anything is opened
  Cancel cancel(info[2]);
  if (!info[3].IsFunction()) throw wrongType("onEvents", "a function");
  std::shared_ptr<Channel> channel = Channel::create(info.Env(), info[3]);
  return Task::start(info.Env(),
                     new OpenModel(path, device, options, std::move(cancel), std::move(channel)));
}

Napi::Value modelInfo(const Napi::CallbackInfo& info) {
  const std::shared_ptr<const Engine> engine = openEngine(info[0]);
  const Model& model = engine->model();
  const ModelConfig& config = model.config;
  const KvShape& kv = engine->pool()->shape();
  JsWriter js(info.Env());
  napi_value object = js.object();
  const auto number = [&](const char* name, double value) {
    js.set(object, name, js.number(value));
  };
  const auto text = [&](const char* name, const std::string& value) {
    js.set(object, name, js.string(value));
  };
  text("family", config.family);
  number("layers", config.layers);
  number("hidden", config.hidden);
  number("heads", config.heads);
  number("kvHeads", config.kvHeads);
  number("headDim", config.headDim);
  number("ffn", config.ffn);
  number("vocab", config.vocab);
  number("contextLength", config.contextLength);
  number("ropeTheta", config.ropes[0].base);
  number("normEpsilon", config.normEpsilon);
  number("parameters", double(model.parameters));
  number("weightBytes", double(model.weightBytes));
  text("weightType", model.weightType);
  text("contentHash", model.contentHash);
  text("kvType", kvTypeName(kv.type));
  number("kvBytesPerRow", double(kv.rowBytes()));
  number("blockRows", kBlockRows);
  number("blockBytes", double(kv.blockBytes()));
  number("threads", engine->options().threads);
  text("isa", isaName(cpuOps().isa));
  const CudaStream* cuda = engine->options().cuda.get();
  text("device", cuda == nullptr ? "cpu" : cuda->id());
  text("deviceName", cuda == nullptr ? cpuBrand() : cuda->name());
  text("deviceWhy", engine->options().deviceWhy);
  return Napi::Value(info.Env(), object);
}

Napi::Value tokenEmbeddings(const Napi::CallbackInfo& info) {
  const std::shared_ptr<const Engine> engine = openEngine(info[0]);
  const auto ids = asTyped<Napi::Int32Array>(info[1], napi_int32_array, "ids", "an Int32Array");
  const std::vector<int32_t> tokens(ids.Data(), ids.Data() + ids.ElementLength());
  JsWriter js(info.Env());
  napi_value rows = js.float32s(engine->tokenEmbeddings(tokens));
  if (!js.ok()) throw Error(code::kOutOfMemory, "no memory left for the rows of these tokens");
  return Napi::Value(info.Env(), rows);
}

Napi::Value setVocabulary(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Engine> engine = openEngine(info[0]);
  const auto bytes = asTyped<Napi::Uint8Array>(info[1], napi_uint8_array, "bytes", "a Uint8Array");
  const auto offsets =
      asTyped<Napi::Uint32Array>(info[2], napi_uint32_array, "offsets", "a Uint32Array");
  auto vocabulary = std::make_shared<Vocabulary>();
  vocabulary->bytes.assign(reinterpret_cast<const char*>(bytes.Data()), bytes.ElementLength());
  vocabulary->offsets.assign(offsets.Data(), offsets.Data() + offsets.ElementLength());
  uint32_t before = 0;
  for (const uint32_t offset : vocabulary->offsets) {
    if (offset < before || offset > vocabulary->bytes.size())
      throw wrongType("offsets", "ascending and within bytes");
    before = offset;
  }
  engine->setVocabulary(std::move(vocabulary));
  return info.Env().Undefined();
}

Napi::Value engineStats(const Napi::CallbackInfo& info) {
  const EngineStats stats = openEngine(info[0])->stats();
  JsWriter js(info.Env());
  napi_value object = js.object();
  const auto number = [&](const char* name, int64_t value) {
    js.set(object, name, js.number(double(value)));
  };
  number("turns", stats.turns);
  number("decodeRows", stats.decodeRows);
  number("prefillRows", stats.prefillRows);
  number("mostDecodeRows", stats.mostDecodeRows);
  number("draftedTokens", stats.draftedTokens);
  number("acceptedTokens", stats.acceptedTokens);
  number("jobs", stats.jobs);
  js.set(object, "prefillRowsPerSecond", js.number(stats.prefillRowsPerSecond));
  return Napi::Value(info.Env(), object);
}

Napi::Value closeModel(const Napi::CallbackInfo& info) {
  ModelHandle& handle = unwrapHandle<ModelHandle>(info[0]);
  auto engine = std::exchange(handle.engine, nullptr);
  return Task::start(info.Env(),
                     new CloseModel(std::move(engine), std::exchange(handle.channel, nullptr)));
}

}  // namespace baton
