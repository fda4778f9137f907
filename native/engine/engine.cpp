// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "device/device.h"
#include "device/limits.h"
#include "engine/cpu_backend.h"
#include "engine/cuda_backend.h"

namespace baton {
namespace {

// Rows of the head at a time. On a device a step's rows are multiplied and sampled together.
constexpr int kLogitRows = 8;
constexpr int kDeviceLogitRows = 64;

std::shared_ptr<trace::Group> joinTrace(const std::string& path, const Model& model,
                                        ThreadPool& threads) {
  if (path.empty()) return nullptr;
  const ModelConfig& c = model.config;
  const std::string name = c.family + ", " + std::to_string(c.layers) + " layers of " +
                           std::to_string(c.hidden) + ", " + model.weightType + " (process " +
                           std::to_string(::getpid()) + ")";
  std::shared_ptr<trace::Group> group = trace::join(path, name);
  trace::setLimits(*group, measureLimits(threads));
  return group;
}

std::shared_ptr<Memory> memoryOf(const EngineOptions& options) {
  return options.cuda == nullptr ? hostMemory() : options.cuda;
}

ForwardOptions forwardOptions(const Model& model, const EngineOptions& options, ThreadPool& threads,
                              LoadWatch* watch) {
  const bool packs = options.int8Activations && options.cuda == nullptr;
  return {options.maxBatchRows, options.int8Activations, options.batchInvariant,
          packs ? packWeights(model, cpuOps(), threads, watch) : nullptr,
          options.cuda == nullptr ? kLogitRows : std::min(options.maxBatchRows, kDeviceLogitRows)};
}

// The one place that knows which devices there are.
std::unique_ptr<Backend> backendOf(const std::shared_ptr<const Model>& model,
                                   const EngineOptions& options, ThreadPool& threads,
                                   const Pool& pool, const ForwardOptions& forward,
                                   LoadWatch* watch) {
  if (options.cuda == nullptr) {
    auto cpu = std::make_unique<CpuBackend>(model, cpuOps(), threads, pool, forward);
    if (!options.watchNumbers) return cpu;
    return std::make_unique<NumberWatch>(std::move(cpu));
  }
  if (options.watchNumbers) {
    throw Error(code::kOptionInvalid,
                "`watchNumbers` looks at every result of a forward where it is computed, and this "
                "model is on " +
                    options.cuda->id() + "; open it on the CPU to look at its numbers",
                {{"option", std::string("watchNumbers")}, {"device", options.cuda->id()}});
  }
  return std::make_unique<CudaBackend>(model, options.cuda, threads, pool, forward, watch);
}

Forward makeForward(const std::shared_ptr<const Model>& model, const EngineOptions& options,
                    ThreadPool& threads, const Pool& pool, LoadWatch* watch) {
  const ForwardOptions forward = forwardOptions(*model, options, threads, watch);
  std::unique_ptr<Backend> backend = backendOf(model, options, threads, pool, forward, watch);
  model->file().requireWhole();  // while it was packed or uploaded
  return Forward(model, std::move(backend), forward);
}

}  // namespace

Engine::Engine(std::shared_ptr<const Model> model, const EngineOptions& options,
               std::shared_ptr<EventSink> sink, LoadWatch* watch)
    : model_(std::move(model)),
      options_(options),
      sink_(std::move(sink)),
      pool_(std::make_shared<Pool>(KvShape{model_->config.layers, model_->config.kvHeads,
                                           model_->config.headDim, options.kvType},
                                   options.cacheBytes, options.indexBytes, memoryOf(options),
                                   *options.policy)),
      scope_(model_->contentHash + '/' + kvTypeName(options.kvType) +
             (options.int8Activations ? "/int8" : "/float32") +
             (options.cuda == nullptr ? "" : "/cuda")),
      threads_(options.threads),
      forward_(makeForward(model_, options, threads_, *pool_, watch)),
      numbers_(dynamic_cast<NumberWatch*>(&forward_.backend())),
      mover_(makeMover()),
      trace_(joinTrace(options.trace, *model_, threads_)),
      thread_([this] { loop(); }) {}

// Rows of the layers' products, and of the attention to one row that is read.
std::unique_ptr<Mover> Engine::makeMover() {
  const ModelConfig& c = model_->config;
  pool_->setRowCost({2.0 * double(model_->parameters), 4.0 * c.layers * c.heads * c.headDim});
  if (options_.tiers.empty()) return nullptr;
  // Other kernels round otherwise, and a batch may; within one process an identity need not say so.
  const std::string bits =
      (options_.cuda == nullptr ? std::string(isaName(cpuOps().isa)) : options_.cuda->name()) +
      (options_.batchInvariant ? "/invariant" : "");
  const TierContent content{scope_ + '/' + bits, pool_->shape().blockBytes()};
  return std::make_unique<Mover>(pool_, openTiers(options_.tiers, content, *options_.policy),
                                 [this] { wake(); });
}

Engine::~Engine() {
  close();
}

std::vector<float> Engine::tokenEmbeddings(const std::vector<int32_t>& ids) const {
  const ModelConfig& c = model_->config;
  for (const int32_t id : ids) {
    if (id >= 0 && id < c.vocab) continue;
    throw Error(code::kOptionInvalid, "there is no token " + std::to_string(id) +
                                          "; the model has 0 to " + std::to_string(c.vocab - 1));
  }
  std::vector<float> rows(ids.size() * static_cast<size_t>(c.hidden));
  const EmbedArgs args{
      model_->embedding.data, model_->embedding.type, c.hidden, ids.data(), rows.data(),
      c.embeddingScale};
  cpuOps().embed(args, 0, static_cast<int>(ids.size()));
  model_->file().requireWhole();
  return rows;
}

void Engine::setVocabulary(std::shared_ptr<const Vocabulary> vocabulary) {
  const std::lock_guard lock(mutex_);
  vocabulary_ = std::move(vocabulary);
}

EngineStats Engine::stats() {
  const std::lock_guard lock(mutex_);
  EngineStats stats = stats_;
  stats.jobs = static_cast<int>(jobs_.size());
  return stats;
}

void Engine::cancel(uint64_t job) {
  const std::lock_guard lock(mutex_);
  const auto found = jobs_.find(job);
  if (found == jobs_.end()) return;
  found->second->cancelled = true;
  cancels_ = true;
  wake_.notify_one();
}

void Engine::close() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
  }
  // close() of a user, the environment's teardown and a finaliser may meet here.
  const std::lock_guard lock(joining_);
  if (!thread_.joinable()) return;
  thread_.join();
  if (mover_ != nullptr) mover_->close();
  if (trace_ != nullptr) trace::leave(*trace_);
}

}  // namespace baton
