// SPDX-License-Identifier: Apache-2.0
// One stored number of K or V, for the references. `base`: of one kv head in one block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/dtype.h"
#include "base/half.h"

namespace baton {

// Element i as it is stored, without its row's scale.
static inline float kvStored(KvType kv, const std::byte* base, int i) {
  switch (kv) {
    case KvType::kF32:
      return reinterpret_cast<const float*>(base)[i];
    case KvType::kF16:
      return floatOfHalf(reinterpret_cast<const uint16_t*>(base)[i]);
    case KvType::kBF16:
      return floatOfBfloat(reinterpret_cast<const uint16_t*>(base)[i]);
    case KvType::kInt8:
      return reinterpret_cast<const int8_t*>(base)[i];
  }
  return 0;
}

static inline float kvScale(KvType kv, const std::byte* base, int D, int row) {
  if (kv != KvType::kInt8) return 1;
  uint16_t half;
  std::memcpy(&half, base + D * kBlockRows + 2 * row, sizeof half);
  return floatOfHalf(half);
}

static inline float keyElement(KvType kv, const std::byte* base, int D, int row, int t) {
  return kvScale(kv, base, D, row) * kvStored(kv, base, t * kBlockRows + row);
}

static inline float valueElement(KvType kv, const std::byte* base, int D, int row, int t) {
  return kvScale(kv, base, D, row) * kvStored(kv, base, row * D + t);
}

}  // namespace baton
