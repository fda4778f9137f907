// SPDX-License-Identifier: Apache-2.0
// A CUDA device: every operation is one launch or a few over all rows, issued on the device's
// stream. Tokens are what comes back, once a step, and logits where somebody wants them; nothing
// else waits.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/threads.h"
#include "cache/pool.h"
#include "cuda/attention_backward.h"
#include "device/cuda_stream.h"
#include "engine/backend.h"
#include "engine/device_weights.h"
#include "engine/slot_plan.h"
#include "engine/step_graphs.h"

namespace baton {

struct CudaBackward;

class CudaBackend : public Backend {
 public:
  // The pool's blocks are on the device. `threads` pack weights here. Errors: OUT_OF_MEMORY,
  // DEVICE_UNAVAILABLE, MODEL_UNSUPPORTED (heads that the kernels do not take), ABORTED.
  CudaBackend(std::shared_ptr<const Model> model, std::shared_ptr<CudaStream> device,
              ThreadPool& threads, const Pool& pool, const ForwardOptions& options,
              LoadWatch* watch);

  ~CudaBackend() override;

  // With the same copy of the weights.
  std::unique_ptr<Backend> another(const ForwardOptions& options) const override;

  Memory& memory() override { return *device_; }
  const ModelWeights& weights() const override { return weights_->weights(); }
  bool multipliesBf16() const override { return true; }

  const std::vector<RopeTable>& ropes() const override { return ropes_; }
  void growPositions(int limit) override;
  void plan(const Batch& batch) override;
  const AttentionPlan& plan() const override { return plan_; }

  bool step(const std::function<bool()>& issue) override;
  void embed(const EmbedArgs& args, int rows) override;
  void rmsnorm(const RmsNormArgs& args, int rows) override;
  void rmsnormQuantize(const RmsNormQuantizeArgs& args, int rows) override;
  void quantize(const QuantizeArgs& args, int rows) override;
  void toBf16(const ToBf16Args& args, int rows) override;
  void addBias(const AddBiasArgs& args, int rows) override;
  void multiply(const char* name, const LinearArgs* args, int count) override;
  void gateUp(const GateUp& args) override;
  void attend(const LayerAttention& args) override;
  void head(const LinearArgs& args) override;
  float* logits(int row, int count) override;
  void sample(const SampleWanted* wanted, int count, Sampled* out) override;

  // cuda_backward.cpp
  void planBackward(const Batch& batch, std::vector<KvGradient>& outside) override;
  void attendBackward(const LayerAttentionBackward& args) override;
  void multiplyBackward(const char* name, const Weight& weight, const float* dy, float* dx,
                        int rows, bool accumulate) override;
  void rmsnormBackward(const DRmsNormArgs& args, int rows) override;
  void gateBackward(const DGluArgs& args, Activation activation, int rows) override;
  void score(const LinearArgs& head, const ScoreArgs& args) override;
  void adamw(const AdamWArgs& args) override;

 private:
  CudaBackend(std::shared_ptr<const Model> model, std::shared_ptr<CudaStream> device,
              const Pool& pool, const ForwardOptions& options,
              std::shared_ptr<DeviceWeights> weights);

  // cos and sin of a rope table.
  struct Rotary {
    int limit = 0;
    std::unique_ptr<DeviceBuffer> cos, sin;
  };

  // Quants of few rows, which are made when it is known who reads them (cuda_linear.cpp).
  struct Quants {
    RmsNormQuantizeArgs args;  // without a norm where `weight` is null
    int rows;
  };
  void wait(const Quants& quants);
  void makeQuants();
  bool fuse(const LinearArgs* layers, int count, GatedUnit unit);

  void uploadLists(const Batch& batch);
  void setShape(const Batch& batch);
  bool write(StepGraphs::Step& step, const std::function<bool()>& issue);
  template <class T>
  void uploadList(DeviceBuffer& to, const std::vector<T>& list);
  CudaBackward& backward();
  DAttendSlotsArgs backwardArgs(const LayerAttentionBackward& args);
  KvAppendArgs appendArgs(const LayerAttention& args);
  AttendSlotsArgs slotArgs(const LayerAttention& args);
  template <class T>
  const T* listAt(size_t offset) const {
    return reinterpret_cast<const T*>(lists_.data() + offset);
  }

  std::shared_ptr<const Model> model_;
  std::shared_ptr<CudaStream> device_;
  const Pool& pool_;
  ForwardOptions options_;
  bool halves_;  // attention of many rows by tensor cores
  Sharing sharing_;
  std::shared_ptr<DeviceWeights> weights_;
  std::vector<RopeTable> ropes_;  // by ModelConfig::ropes
  std::vector<Rotary> rotary_;    // the same on the device

  AttentionPlan plan_;
  SlotPlan slots_;
  size_t states_ = 0;                   // room for partial states
  std::unique_ptr<StepGraphs> graphs_;  // null: batches of this backend come but once
  bool graphable_ = false;              // of the planned batch, as all below
  StepShape shape_;
  std::vector<std::byte> packed_;  // what lists_ is to hold
  struct Offsets {                 // in lists_
    size_t tokens, slots, items, rows, states, queryRow, queryPositions, keyPositions, keyBlock,
        keySlot;
  } at_{};
  DeviceBuffer lists_;    // of the planned batch
  DeviceBuffer rotated_;  // [queryRows, H, D]
  DeviceBuffer partO_;    // [states, H, D]
  DeviceBuffer partMd_;   // [2, states, H]

  std::optional<Quants> waiting_;
  DeviceBuffer gate_;      // [R, F]
  DeviceBuffer up_;        // [R, F]
  DeviceBuffer logits_;    // [logitRows, V]
  DeviceBuffer sampling_;  // rows and edits of sampling.h, scratch, tokens and log-probabilities
  std::vector<SampleEdit> edits_;
  std::vector<float> hostLogits_;

  std::unique_ptr<CudaBackward> backward_;  // once there was one
};

}  // namespace baton
