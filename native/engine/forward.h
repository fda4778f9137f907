// SPDX-License-Identifier: Apache-2.0
// One forward over ragged rows, for prefill, decode and every mixture of chains; the layer in
// forward.cpp reads like the paper (llama: arXiv 2302.13971) and asks the config for what a family
// has beyond it, never which family it is. All memory of a step is taken at construction for
// maxRows rows, or grows once.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "base/threads.h"
#include "cache/pool.h"
#include "engine/attention.h"
#include "engine/batch.h"
#include "engine/rope_table.h"
#include "engine/tape.h"
#include "engine/weight_panels.h"
#include "kernels/ops.h"
#include "model/model.h"

namespace baton {

struct ForwardOptions {
  int maxRows;  // most rows of a batch
  // For quantised weights; those in BF16 then take bfloat16 activations where there are kernels for
  // it. False: weights are dequantised exactly and activations stay float32.
  bool int8Activations;
  bool batchInvariant;  // same bits for a row whatever the batch
  // Of the model, for int8Activations (packWeights()).
  std::shared_ptr<const WeightPanels> panels = {};
  int logitRows = 8;  // most rows of one call of logits()
};

class Forward {
 public:
  // Error(MODEL_UNSUPPORTED) when more query heads share a kv head than a kernel call takes.
  Forward(std::shared_ptr<const Model> model, const Ops& ops, ThreadPool& threads, const Pool& pool,
          const ForwardOptions& options);

  // Runs all layers. `goOn` is asked before every layer; when it says no the result is false, K and
  // V of the batch's rows are undefined and nothing else has changed.
  bool run(const Batch& batch, Tape* tape, const std::function<bool()>& goOn);

  // What layer `index` leaves on a tape, computed again from its input [R, M] on a tape. The batch
  // is that of the last prepare() or run(); K and V of its rows are written again, the same.
  void recompute(int index, const std::vector<float>& input, LayerActivations& into);

  // Makes `batch`, which has run before, the one that recompute() and plan() speak of.
  void prepare(const Batch& batch);
  const AttentionPlan& plan() const { return attention_.plan(); }

  // After run(): logits [count, V] of batch.logitRows[first .. first + count), at most
  // options().logitRows.
  // Valid until the next call. Writable: the sampler works in place.
  float* logits(int first, int count);

  // Positions that the rotary tables must hold before a batch with them may run. Not during a
  // forward.
  void growPositions(int limit) {
    for (RopeTable& rope : ropes_) rope.grow(limit);
  }

  const ForwardOptions& options() const { return options_; }
  const std::vector<RopeTable>& ropes() const { return ropes_; }

 private:
  // Activations as int8 arithmetic reads them.
  struct Int8Rows {
    Buffer q;  // [R, K] int8
    Buffer d;  // [R, K / 32]
    Buffer s;  // [R, K / 32]

    void ensure(size_t values);
    // Where rows x [.., K] go, from row `at` on.
    QuantizeArgs from(const float* x, int K, int at = 0);
  };
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

  void embed(const Batch& batch);
  void layer(int index, LayerActivations* keep);
  void feedForward(const LayerWeights& w, LayerActivations* keep);
  void gateUp(const LayerWeights& w, LayerActivations* keep);
  void activate(float* tile, int from, int count, bool quantised, LayerActivations* keep);
  static size_t tileFloats(int rows);
  void addToStream(const char* name, const Activations& a, const Weight& weight,
                   const float* postNorm, std::vector<float>* keep);
  void keepRows(std::vector<float>& into, const float* from, int width) const;
  void addBias(const float* bias, float* y, int width);
  void rmsnorm(const RmsNormArgs& args, int rows);
  Activations normedFor(const float* norm, const Projection* readers, int count);
  bool takesInt8(const Weight& weight) const;
  bool takesBf16(const Weight& weight) const;
  void quantize(const QuantizeArgs& args, int rows);
  // Rows x [rows, K] to xb_, where the next linear with weights that take bf16 reads them.
  void toBf16(const float* x, int rows, int K);
  LinearArgs argsOf(const Projection& projection, const Activations& a, int rows) const;
  void* scratch(int worker);
  void multiplyColumns(const LinearArgs& args, int from, int to, int worker);
  // `name` is what the trace calls it.
  void multiply(const char* name, const Activations& a, int rows, const Projection* projections,
                int count);

  std::shared_ptr<const Model> model_;
  const Ops& ops_;
  ThreadPool& threads_;
  ForwardOptions options_;
  std::vector<RopeTable> ropes_;  // by ModelConfig::ropes
  Attention attention_;

  int rows_ = 0;     // R of the running batch
  Buffer x_;         // [R, M] residual stream
  Buffer normed_;    // [R, M]
  Buffer q_;         // [R, H, D]
  Buffer k_;         // [R, G, D]
  Buffer v_;         // [R, G, D]
  Buffer attended_;  // [R, H, D]
  Buffer tiles_;     // per worker: columns of gate, of up
  size_t tileFloats_;
  Buffer hidden_;   // [R, F] what down reads
  Int8Rows gated_;  // [R, F] or that
  Int8Rows xq_;     // [R, M], [R, H * D] or of the head
  Buffer xb_;       // [R, K] bfloat16, what xq_ or gated_ is for int8
  Buffer final_;    // [logit rows, M]
  Buffer logits_;   // [2 logitRows, V]
  Buffer scratch_;  // per worker
  size_t scratchBytes_;
  std::vector<int32_t> tokens_;  // [R], -1 for soft rows
};

}  // namespace baton
