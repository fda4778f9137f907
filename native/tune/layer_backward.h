// SPDX-License-Identifier: Apache-2.0
// The layer of engine/forward.cpp read from bottom to top: from the gradient of its output to that
// of its input, for the rows of one batch. The weights are frozen, so that nothing else comes out
// but gradients of K and V that live rows outside of the batch own.
#pragma once

#include <memory>
#include <vector>

#include "engine/backend.h"
#include "engine/tape.h"
#include "model/model.h"

namespace baton {

class LayerBackward {
 public:
  // On what the forward ran on.
  LayerBackward(std::shared_ptr<const Model> model, Backend& backend);

  // `batch` is the one that the backend's plan is of, and each of its runs a whole segment.
  // `outside`: Backend::planBackward. `incoming`: what readers of other batches have left for the K
  // and V of segments of this one.
  void plan(const Batch& batch, std::vector<KvGradient>& outside,
            const std::vector<KvGradient>& incoming);

  // dx [R, M]: of the layer's output on entry, of its input on return; `input` [R, M] is what the
  // forward read. Without `toInput` nobody wants the latter, and only what readers leave for
  // segments outside of the batch is computed.
  void run(int layer, const float* input, const LayerActivations& kept, float* dx, bool toInput);

 private:
  void feedForward(const LayerWeights& w, const LayerActivations& kept, float* dx);
  void attention(int layer, const LayerWeights& w, const float* input, const LayerActivations& kept,
                 float* dx, bool toInput);
  const float* postNorm(const float* weight, const DeviceBuffer& kept, const float* dx);
  void takeIncoming(int layer);

  std::shared_ptr<const Model> model_;
  Backend& backend_;
  struct Incoming {
    int batchRow;
    const KvGradient* gradient;
  };
  std::vector<Incoming> incoming_;
  int rows_ = 0;
  DeviceBuffer dadded_;     // [R, M] of what a half adds to the stream, where a norm follows it
  DeviceBuffer dhidden_;    // [R, F]
  DeviceBuffer dup_;        // [R, F]
  DeviceBuffer dnormed_;    // [R, M]
  DeviceBuffer dattended_;  // [R, H, D]
  DeviceBuffer dq_;         // [R, H, D]
  DeviceBuffer dk_;         // [R, G, D]
  DeviceBuffer dv_;         // [R, G, D]
};

}  // namespace baton
