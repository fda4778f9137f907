// SPDX-License-Identifier: Apache-2.0
// The layer of engine/forward.cpp read from bottom to top: from the gradient of its output to that
// of its input, for the rows of one batch. The weights are frozen, so that nothing else comes out
// but gradients of K and V that live rows outside of the batch own.
#pragma once

#include <memory>
#include <vector>

#include "base/buffer.h"
#include "base/threads.h"
#include "engine/forward.h"
#include "kernels/ops.h"
#include "model/model.h"
#include "tune/attention_backward.h"

namespace baton {

// dx[R, K] (+)= dy[R, N] W[N, K] on all workers. `scratch` grows to dLinearScratchBytes() a worker.
// `name` is what the trace calls it. `fast`: the forward may round activations, and this what it
// multiplies, to bfloat16 (dlinear.h); F32 and F16 weights are not rounded in either.
void linearBackward(const char* name, const Ops& ops, ThreadPool& threads, Buffer& scratch,
                    const Weight& weight, const float* dy, float* dx, int rows, bool accumulate,
                    bool fast);

class LayerBackward {
 public:
  LayerBackward(std::shared_ptr<const Model> model, const Ops& ops, ThreadPool& threads,
                const Pool& pool, const std::vector<RopeTable>& ropes, bool fast);

  // As AttentionBackward::plan. `incoming`: what readers of other batches have left for the K and V
  // of segments of this one.
  void plan(const AttentionPlan& plan, const Batch& batch, std::vector<KvGradient>& outside,
            const std::vector<KvGradient>& incoming);

  // dx [R, M]: of the layer's output on entry, of its input on return. Without `toInput` nobody
  // wants the latter, and only what readers leave for segments outside of the batch is computed.
  void run(int layer, const std::vector<float>& input, const LayerActivations& kept, float* dx,
           bool toInput);

 private:
  void feedForward(const LayerWeights& w, const LayerActivations& kept, float* dx);
  void attention(int layer, const LayerWeights& w, const std::vector<float>& input,
                 const LayerActivations& kept, float* dx, bool toInput);
  const float* postNorm(const float* weight, const std::vector<float>& kept, const float* dx);
  void takeIncoming(int layer);
  void linear(const char* name, const Weight& weight, const float* dy, float* dx, bool accumulate);
  void gate(const DGluArgs& args);
  void rmsnorm(const DRmsNormArgs& args, int rows);

  std::shared_ptr<const Model> model_;
  const Ops& ops_;
  ThreadPool& threads_;
  const bool fast_;  // of linearBackward
  AttentionBackward attention_;
  struct Incoming {
    int batchRow;
    const KvGradient* gradient;
  };
  std::vector<Incoming> incoming_;
  int rows_ = 0;
  Buffer dadded_;     // [R, M] of what a half adds to the stream, where a norm follows it
  Buffer dhidden_;    // [R, F]
  Buffer dup_;        // [R, F]
  Buffer dnormed_;    // [R, M]
  Buffer dattended_;  // [R, H, D]
  Buffer dq_;         // [R, H, D]
  Buffer dk_;         // [R, G, D]
  Buffer dv_;         // [R, G, D]
  Buffer scratch_;    // per worker
};

}  // namespace baton
