// SPDX-License-Identifier: Apache-2.0
// What a forward leaves behind for a backward over the same batch. The residual stream at the entry
// of every layer is always kept, as a layer can be computed again from it; what else backward wants
// of a layer is kept for the last layers, as many as the budget holds. Null in inference.
#pragma once

#include <cstddef>
#include <vector>

namespace baton {

// Activations of one layer. What only some families have is empty in the others.
struct LayerActivations {
  std::vector<float> qIn;       // [R, H, D] before the norm of q
  std::vector<float> kIn;       // [R, G, D] before the norm of k
  std::vector<float> q;         // [R, H, D] before the rotation
  std::vector<float> attended;  // [R, H, D]
  std::vector<float> lse;       // [R, H] log of the softmax denominators
  std::vector<float> attnOut;   // [R, M] before attnPostNorm
  std::vector<float> middle;    // [R, M] residual stream between attention and feed-forward
  std::vector<float> gate;      // [R, F]
  std::vector<float> up;        // [R, F]
  std::vector<float> ffnOut;    // [R, M] before ffnPostNorm
};

struct Tape {
  int keptLayers = 0;                          // how many of the last layers leave activations
  std::vector<std::vector<float>> layerInput;  // [L] of [R, M]
  std::vector<LayerActivations> kept;          // [keptLayers], the last layer's at the end
  std::vector<float> output;                   // [logit rows, M] residual stream behind the layers
};

}  // namespace baton
