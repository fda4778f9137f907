// SPDX-License-Identifier: Apache-2.0
// The CPU: kernels of one table, rows or columns of every operation dealt out to a pool of threads.
#pragma once

#include <memory>
#include <vector>

#include "base/buffer.h"
#include "base/threads.h"
#include "cache/pool.h"
#include "engine/attention.h"
#include "engine/backend.h"
#include "engine/int8_rows.h"

namespace baton {

class AttentionBackward;

class CpuBackend : public Backend {
 public:
  CpuBackend(std::shared_ptr<const Model> model, const Ops& ops, ThreadPool& threads,
             const Pool& pool, const ForwardOptions& options);
  ~CpuBackend() override;

  std::unique_ptr<Backend> another(const ForwardOptions& options) const override {
    return std::make_unique<CpuBackend>(model_, ops_, threads_, pool_, options);
  }
  Memory& memory() override { return *hostMemory(); }
  const ModelWeights& weights() const override { return weights_; }
  bool multipliesBf16() const override { return ops_.linearBf16 != nullptr; }

  const std::vector<RopeTable>& ropes() const override { return ropes_; }
  void growPositions(int limit) override {
    for (RopeTable& rope : ropes_) rope.grow(limit);
  }
  void plan(const Batch& batch) override { attention_.plan(batch); }
  const AttentionPlan& plan() const override { return attention_.plan(); }

  bool step(const std::function<bool()>& issue) override { return issue(); }
  void embed(const EmbedArgs& args, int rows) override;
  void rmsnorm(const RmsNormArgs& args, int rows) override;
  void rmsnormQuantize(const RmsNormQuantizeArgs& args, int rows) override;
  void quantize(const QuantizeArgs& args, int rows) override;
  void toBf16(const ToBf16Args& args, int rows) override;
  void addBias(const AddBiasArgs& args, int rows) override;
  void multiply(const char* name, const LinearArgs* args, int count) override;
  void gateUp(const GateUp& args) override;  // feed_forward.cpp
  void attend(const LayerAttention& args) override;
  void head(const LinearArgs& args) override;
  float* logits(int row, int count) override;
  void sample(const SampleWanted* wanted, int count, Sampled* out) override;

  // cpu_backward.cpp
  void planBackward(const Batch& batch, std::vector<KvGradient>& outside) override;
  void attendBackward(const LayerAttentionBackward& args) override;
  void multiplyBackward(const char* name, const Weight& weight, const float* dy, float* dx,
                        int rows, bool accumulate) override;
  void rmsnormBackward(const DRmsNormArgs& args, int rows) override;
  void gateBackward(const DGluArgs& args, Activation activation, int rows) override;
  void score(const LinearArgs& head, const ScoreArgs& args) override;
  void adamw(const AdamWArgs& args) override;

 private:
  static size_t tileFloats(int rows);
  void activate(const GateUp& args, float* tile, int from, int count);
  void* scratch(int worker);
  void multiplyColumns(const LinearArgs& args, int from, int to, int worker);

  std::shared_ptr<const Model> model_;
  const Ops& ops_;
  ThreadPool& threads_;
  const Pool& pool_;
  ForwardOptions options_;
  ModelWeights weights_;          // the model's, with their panels
  std::vector<RopeTable> ropes_;  // by ModelConfig::ropes
  Attention attention_;

  Buffer tiles_;  // per worker: columns of gate, of up
  size_t tileFloats_;
  Int8Rows head_;   // [2 logitRows, M]
  Buffer rest_;     // [logitRows, M]
  Buffer logits_;   // [2 logitRows, V]
  Buffer scratch_;  // per worker
  size_t scratchBytes_;

  std::unique_ptr<AttentionBackward> attentionBackward_;  // once there was one
  Buffer backwardScratch_;                                // per worker
};

}  // namespace baton
