// SPDX-License-Identifier: Apache-2.0
// Weights of every format for the tests of kernels.
#pragma once

#include <cstring>

#include "support.h"

namespace baton::test {

// Where a block has its float16 numbers, -1 for none: the scale and, of types over an interval, the
// offset or the scale of offsets.
struct Halves {
  int scale, offset;
};
inline Halves halvesOf(DType type) {
  switch (type) {
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ6_K:
      return {208, -1};
    default:
      return {0, -1};
  }
}

// Blocks of random bytes, or of one byte, with sane scales: also quants that a quantiser would not
// write (-128).
inline void fillWeights(const QuantType& type, size_t elements, Random& random, std::byte* out,
                        int byteOrNone = -1) {
  const size_t blocks = elements / static_cast<size_t>(type.blockElements);
  const auto [scaleAt, offsetAt] = halvesOf(type.dtype);
  for (size_t b = 0; b < blocks; ++b) {
    std::byte* block = out + b * type.blockBytes;
    if (type.blockElements == 1) {
      const float value = random.number();
      type.quantize(&value, block, 1);
      continue;
    }
    for (int i = 0; i < type.blockBytes; ++i) {
      block[i] = static_cast<std::byte>(byteOrNone < 0 ? random.below(256) : byteOrNone);
    }
    const float size = type.blockElements > 32 ? 0.0005f : 0.01f;  // scales within scales
    const uint16_t d = halfOfFloat(random.number() * size);
    const uint16_t m = halfOfFloat(random.number() * size * 10);
    std::memcpy(block + scaleAt, &d, 2);
    if (offsetAt >= 0) std::memcpy(block + offsetAt, &m, 2);
  }
}

}  // namespace baton::test
