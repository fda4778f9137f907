// SPDX-License-Identifier: Apache-2.0
// A backend of the host that looks at what every operation of a forward leaves, and remembers the
// first result of each row that is no finite number: which operation, which layer. What int8
// arithmetic would hide (a NaN has no place among quants) is computed in float32 besides. It
// changes no number, takes no part in training, which looks at its losses and gradients itself, and
// is made only where somebody asks for it: without it a forward has not a branch more.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "engine/backend.h"

namespace baton {

struct NotFinite {
  int row;         // of the batch
  std::string op;  // and the weight that it works with
  int layer;       // -1: before the first or behind the last
};

class NumberWatch : public Backend {
 public:
  // `inner` works in memory of the host.
  explicit NumberWatch(std::unique_ptr<Backend> inner);

  // What was found since the last call, at most one for each row of a batch.
  std::vector<NotFinite> take() { return std::exchange(found_, {}); }

  std::unique_ptr<Backend> another(const ForwardOptions& options) const override {
    return inner_->another(options);
  }
  Memory& memory() override { return inner_->memory(); }
  const ModelWeights& weights() const override { return inner_->weights(); }
  bool multipliesBf16() const override { return inner_->multipliesBf16(); }
  const std::vector<RopeTable>& ropes() const override { return inner_->ropes(); }
  void growPositions(int limit) override { inner_->growPositions(limit); }
  void plan(const Batch& batch) override;
  const AttentionPlan& plan() const override { return inner_->plan(); }

  bool step(const std::function<bool()>& issue) override { return inner_->step(issue); }
  void embed(const EmbedArgs& args, int rows) override;
  void rmsnorm(const RmsNormArgs& args, int rows) override;
  void rmsnormQuantize(const RmsNormQuantizeArgs& args, int rows) override;
  void quantize(const QuantizeArgs& args, int rows) override { inner_->quantize(args, rows); }
  void toBf16(const ToBf16Args& args, int rows) override;
  void addBias(const AddBiasArgs& args, int rows) override;
  void multiply(const char* name, const LinearArgs* args, int count) override;
  void gateUp(const GateUp& args) override;
  void attend(const LayerAttention& args) override;
  void head(const LinearArgs& args) override;
  float* logits(int row, int count) override { return inner_->logits(row, count); }
  void sample(const SampleWanted* wanted, int count, Sampled* out) override {
    inner_->sample(wanted, count, out);
  }

  void planBackward(const Batch& batch, std::vector<KvGradient>& outside) override {
    inner_->planBackward(batch, outside);
  }
  void attendBackward(const LayerAttentionBackward& args) override { inner_->attendBackward(args); }
  void multiplyBackward(const char* name, const Weight& weight, const float* dy, float* dx,
                        int rows, bool accumulate) override {
    inner_->multiplyBackward(name, weight, dy, dx, rows, accumulate);
  }
  void rmsnormBackward(const DRmsNormArgs& args, int rows) override {
    inner_->rmsnormBackward(args, rows);
  }
  void gateBackward(const DGluArgs& args, Activation activation, int rows) override {
    inner_->gateBackward(args, activation, rows);
  }
  void score(const LinearArgs& head, const ScoreArgs& args) override { inner_->score(head, args); }
  void adamw(const AdamWArgs& args) override { inner_->adamw(args); }

 private:
  struct Place {
    int layer;
    const char* name;
  };

  Place placeOf(const void* weight) const;
  // Rows [rows, width] of values, `stride` apart, that `op` with the weight at `place` left.
  void look(const char* op, Place place, const float* values, int rows, int width, int stride);
  void lookLinear(const LinearArgs& args, const float* values, int stride);
  void note(int row, const char* op, Place place);

  std::unique_ptr<Backend> inner_;
  std::unordered_map<const void*, Place> places_;  // of vectors and matrices of layers
  std::vector<NotFinite> found_;
  std::vector<char> told_;          // by row of the batch
  std::vector<int> logitRows_;      // of the planned batch
  const float* final_ = nullptr;    // rows behind the last norm, in the order of logitRows_
  const float* rounded_ = nullptr;  // what toBf16() read last
  Buffer normed_, gate_, up_;       // where nobody else wants them in float32
};

}  // namespace baton
