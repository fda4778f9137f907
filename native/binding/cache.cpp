// SPDX-License-Identifier: Apache-2.0
// What the KV cache of a model holds, and where.
#include <vector>

#include "binding/arguments.h"
#include "binding/exports.h"
#include "binding/handles.h"
#include "binding/task.h"
#include "binding/values.h"

namespace baton {
namespace {

napi_value tierStats(JsWriter& js, const Mover* mover) {
  const std::vector<TierStats> tiers = mover == nullptr ? std::vector<TierStats>{} : mover->stats();
  napi_value all = js.array(tiers.size());
  for (uint32_t i = 0; i < tiers.size(); ++i) {
    const TierStats& stats = tiers[i];
    napi_value tier = js.object();
    js.set(tier, "name", js.string(stats.name));
    const auto number = [&](const char* name, double value) {
      js.set(tier, name, js.number(value));
    };
    number("budgetBytes", double(stats.budgetBytes));
    number("usedBytes", double(stats.usedBytes));
    number("blocks", double(stats.blocks));
    number("blocksWritten", double(stats.written));
    number("blocksRead", double(stats.read));
    number("blocksEvicted", double(stats.evicted));
    number("blocksDamaged", double(stats.damaged));
    number("bytesPerSecond", stats.bytesPerSecond);
    js.set(tier, "writes", js.boolean(stats.writes));
    js.set(all, i, tier);
  }
  return all;
}

class SettleTiers : public Task {
 public:
  explicit SettleTiers(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {}

 private:
  void execute() override {
    if (engine_->mover() != nullptr) engine_->mover()->settle();
  }
  napi_value result(napi_env env) override {
    napi_value undefined = nullptr;
    return napi_get_undefined(env, &undefined) == napi_ok ? undefined : nullptr;
  }

  std::shared_ptr<Engine> engine_;
};

}  // namespace

Napi::Value cacheStats(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Engine> engine = openEngine(info[0]);
  const Pool::Stats stats = engine->pool()->stats();
  JsWriter js(info.Env());
  napi_value object = js.object();
  const auto number = [&](const char* name, size_t value) {
    js.set(object, name, js.number(double(value)));
  };
  number("budgetBytes", stats.blocksTotal * stats.blockBytes);
  number("usedBytes", stats.blocksUsed * stats.blockBytes);
  number("peakBytes", stats.blocksPeak * stats.blockBytes);
  number("freeBytes", (stats.blocksTotal - stats.blocksUsed) * stats.blockBytes);
  number("blockBytes", stats.blockBytes);
  number("blockRows", kBlockRows);
  number("blocksUsed", stats.blocksUsed);
  number("blocksTotal", stats.blocksTotal);
  number("blocksKept", stats.blocksKept);
  number("segments", stats.segments);
  js.set(object, "tiers", tierStats(js, engine->mover()));
  return Napi::Value(info.Env(), object);
}

Napi::Value cacheCensus(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Engine> engine = openEngine(info[0]);
  const Pool::Census census = engine->pool()->census();
  JsWriter js(info.Env());
  napi_value object = js.object();
  const auto number = [&](const char* name, double value) {
    js.set(object, name, js.number(value));
  };
  number("promptBlocks", double(census.blocksOfKind[size_t(SegmentKind::kPrompt)]));
  number("inputBlocks", double(census.blocksOfKind[size_t(SegmentKind::kInput)]));
  number("outputBlocks", double(census.blocksOfKind[size_t(SegmentKind::kOutput)]));
  number("blocksShared", double(census.blocksShared));
  number("rowsComputed", double(engine->rowsComputed()));
  number("rowsReused", double(engine->rowsReused()));
  return Napi::Value(info.Env(), object);
}

Napi::Value settleTiers(const Napi::CallbackInfo& info) {
  return Task::start(info.Env(), new SettleTiers(openEngine(info[0])));
}

}  // namespace baton
