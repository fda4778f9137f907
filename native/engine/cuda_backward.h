// SPDX-License-Identifier: Apache-2.0
// What a CUDA device has besides when it goes backward (cuda_backward.cpp).
#pragma once

#include <vector>

#include "device/memory.h"
#include "engine/kv_gradient.h"
#include "engine/slot_backward.h"

namespace baton {

// Lists of a step that backward goes through, and what of it lies between two launches.
struct CudaBackward {
  SlotBackward lists;
  std::vector<KvGradient>* outside = nullptr;
  DeviceBuffer items, states, positions, uses, parts, targets, keyPositions;
  DeviceBuffer delta;         // [R, H]
  DeviceBuffer partQ;         // [states, H, D]
  DeviceBuffer partK, partV;  // [parts, 16, G, D]
  DeviceBuffer labels, scales, losses;

  explicit CudaBackward(Memory& memory)
      : items(memory),
        states(memory),
        positions(memory),
        uses(memory),
        parts(memory),
        targets(memory),
        keyPositions(memory),
        delta(memory),
        partQ(memory),
        partK(memory),
        partV(memory),
        labels(memory),
        scales(memory),
        losses(memory) {}
};

}  // namespace baton
