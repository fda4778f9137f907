// SPDX-License-Identifier: Apache-2.0
// What a forward leaves behind for a backward over the same batch, in the memory that it ran in.
// The residual stream at the entry of every layer is always kept, as a layer can be computed again
// from it; what else backward wants of a layer is kept for the last layers, as many as the budget
// holds. Null in inference.
#pragma once

#include <cstddef>
#include <vector>

#include "device/memory.h"

namespace baton {

// Activations of one layer. What only some families have is empty in the others.
struct LayerActivations {
  DeviceBuffer qIn;       // [R, H, D] before the norm of q
  DeviceBuffer kIn;       // [R, G, D] before the norm of k
  DeviceBuffer q;         // [R, H, D] as attention left it (LayerAttention of backend.h)
  DeviceBuffer attended;  // [R, H, D]
  DeviceBuffer lse;       // [R, H] log of the softmax denominators
  DeviceBuffer attnOut;   // [R, M] before attnPostNorm
  DeviceBuffer middle;    // [R, M] residual stream between attention and feed-forward
  DeviceBuffer gate;      // [R, F]
  DeviceBuffer up;        // [R, F]
  DeviceBuffer ffnOut;    // [R, M] before ffnPostNorm

  explicit LayerActivations(Memory& memory)
      : qIn(memory),
        kIn(memory),
        q(memory),
        attended(memory),
        lse(memory),
        attnOut(memory),
        middle(memory),
        gate(memory),
        up(memory),
        ffnOut(memory) {}
};

struct Tape {
  explicit Tape(Memory& from) : output(from), memory(&from) {}

  int keptLayers = 0;                    // how many of the last layers leave activations
  std::vector<DeviceBuffer> layerInput;  // [L] of [R, M]
  std::vector<LayerActivations> kept;    // [keptLayers], the last layer's at the end
  DeviceBuffer output;                   // [logit rows, M] residual stream behind the layers

  // Room for a forward of so many layers.
  void begin(int layers) {
    const auto count = static_cast<size_t>(layers), keeps = static_cast<size_t>(keptLayers);
    while (layerInput.size() < count) layerInput.emplace_back(*memory);
    while (kept.size() < keeps) kept.emplace_back(*memory);
    while (kept.size() > keeps) kept.pop_back();
  }

 private:
  Memory* memory;
};

}  // namespace baton
