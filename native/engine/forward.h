// SPDX-License-Identifier: Apache-2.0
// One forward over ragged rows, for prefill, decode and every mixture of chains; the layer in
// forward.cpp reads like the paper (llama: arXiv 2302.13971) and asks the config for what a family
// has beyond it, never which family it is, and the backend to do it, never on which device. All
// memory of a step is taken at construction for maxRows rows, or grows once.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/threads.h"
#include "cache/pool.h"
#include "engine/backend.h"
#include "engine/batch.h"
#include "engine/int8_rows.h"
#include "engine/tape.h"
#include "kernels/ops.h"
#include "model/model.h"

namespace baton {

class Forward {
 public:
  Forward(std::shared_ptr<const Model> model, std::unique_ptr<Backend> backend,
          const ForwardOptions& options);

  // On a CPU. Error(MODEL_UNSUPPORTED) when more query heads share a kv head than a kernel call
  // takes.
  Forward(std::shared_ptr<const Model> model, const Ops& ops, ThreadPool& threads, const Pool& pool,
          const ForwardOptions& options);

  // The same on what this one runs on, for other sizes.
  std::unique_ptr<Forward> another(const ForwardOptions& options) const {
    return std::make_unique<Forward>(model_, backend_->another(options), options);
  }
  Backend& backend() { return *backend_; }

  // Runs all layers. `goOn` is asked before every layer, but where they are issued as one
  // (Backend::step); when it says no the result is false, K and V of the batch's rows are undefined
  // and nothing else has changed; so when it throws.
  bool run(const Batch& batch, Tape* tape, const std::function<bool()>& goOn);

  // What layer `index` leaves on a tape, computed again from its input [R, M] on a tape. The batch
  // is that of the last prepare() or run(); K and V of its rows are written again, the same.
  void recompute(int index, const float* input, LayerActivations& into);

  // Makes `batch`, which has run before, the one that recompute() and the backend's plan speak of.
  void prepare(const Batch& batch);

  // After run(): the head over batch.logitRows[first .. first + count), at most
  // options().logitRows.
  void head(int first, int count);
  // Of these: logits [count, V] of rows [row, row + count), writable, valid until the next call; or
  // tokens alone (backend.h).
  float* headRows(int row, int count) { return backend_->logits(row, count); }
  void sample(const SampleWanted* wanted, int count, Sampled* out) {
    backend_->sample(wanted, count, out);
  }

  // Both at once.
  float* logits(int first, int count) {
    head(first, count);
    return headRows(0, count);
  }

  // Losses of the same rows, and gradients with respect to what the last norm made of them.
  void score(int first, int count, const ScoreArgs& args);

  // Positions that the rotary tables must hold before a batch with them may run. Not during a
  // forward.
  void growPositions(int limit) { backend_->growPositions(limit); }

  const ForwardOptions& options() const { return options_; }

 private:
  // Rows [R, K], in the form or forms that the weights take.
  struct Activations {
    const float* x;
    Int8Rows* quantised;
  };
  struct Projection {
    const Weight* weight;
    float* y;
    int ldy;
    bool accumulate;
  };

  bool issue(const Batch& batch, Tape* tape, const std::function<bool()>& goOn);
  void gatherLogitRows(const std::vector<int>& rows);
  void uploadSoftRows(const Batch& batch);
  void layer(int index, LayerActivations* keep);
  void feedForward(const LayerWeights& w, LayerActivations* keep);
  void addToStream(const char* name, const Activations& a, const Weight& weight,
                   const float* postNorm, DeviceBuffer* keep);
  void keepRows(DeviceBuffer& into, const float* from, int width) const;
  void addBias(const float* bias, float* y, int width);
  Activations normedFor(const float* norm, const Projection* readers, int count);
  bool takesInt8(const Weight& weight) const;
  bool takesBf16(const Weight& weight) const;
  // Rows x [rows, K] to xb_, where the next linear with weights that take bf16 reads them.
  void toBf16(const float* x, int rows, int K);
  LinearArgs headArgs(int first, int count);
  LinearArgs argsOf(const Projection& projection, const Activations& a, int rows) const;
  template <size_t kCount>
  void multiply(const char* name, const Activations& a, const Projection (&projections)[kCount]);

  std::shared_ptr<const Model> model_;
  std::unique_ptr<Backend> backend_;
  ForwardOptions options_;

  int rows_ = 0;           // R of the running batch
  DeviceBuffer x_;         // [R, M] residual stream
  DeviceBuffer normed_;    // [R, M]
  DeviceBuffer q_;         // [R, H, D]
  DeviceBuffer k_;         // [R, G, D]
  DeviceBuffer v_;         // [R, G, D]
  DeviceBuffer attended_;  // [R, H, D]
  DeviceBuffer hidden_;    // [R, F] what down reads
  Int8Rows gated_;         // [R, F] or that
  Int8Rows xq_;            // [R, M] or [R, H * D]
  DeviceBuffer xb_;        // [R, K] bfloat16, what xq_ or gated_ is for int8
  DeviceBuffer final_;     // [logit rows, M]
};

}  // namespace baton
