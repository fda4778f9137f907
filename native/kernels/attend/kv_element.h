// SPDX-License-Identifier: Apache-2.0
// One stored number of K or V, for the references.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "base/half.h"

namespace baton {

static inline float kvElement(KvType kv, const std::byte* base, int i) {
  switch (kv) {
    case KvType::kF32:
      return reinterpret_cast<const float*>(base)[i];
    case KvType::kF16:
      return floatOfHalf(reinterpret_cast<const uint16_t*>(base)[i]);
    case KvType::kBF16:
      return floatOfBfloat(reinterpret_cast<const uint16_t*>(base)[i]);
  }
  return 0;
}

}  // namespace baton
