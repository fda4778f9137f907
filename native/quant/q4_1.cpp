// SPDX-License-Identifier: Apache-2.0
// Q4_1: 32 nibbles over [m, m + 15 d].
#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "quant/blocks.h"
#include "quant/formats.h"

namespace baton {
namespace {

void dequantize(const void* src, float* dst, size_t n) {
  const auto* blocks = static_cast<const BlockQ4_1*>(src);
  for (size_t b = 0; b < n / 32; ++b) {
    const float d = floatOfHalf(blocks[b].d);
    const float m = floatOfHalf(blocks[b].m);
    for (size_t j = 0; j < 16; ++j) {
      const int q = blocks[b].q[j];
      dst[b * 32 + j] = d * static_cast<float>(q & 15) + m;
      dst[b * 32 + j + 16] = d * static_cast<float>(q >> 4) + m;
    }
  }
}

int nibble(float value) {
  return static_cast<int>(std::clamp(std::lrint(value), 0L, 15L));
}

void quantize(const float* src, void* dst, size_t n) {
  auto* blocks = static_cast<BlockQ4_1*>(dst);
  for (size_t b = 0; b < n / 32; ++b) {
    const float* w = src + b * 32;
    const auto [low, high] = std::minmax_element(w, w + 32);
    const float m = *low;
    const float d = (*high - m) / 15.0f;
    const float inverse = d == 0 ? 0.0f : 1.0f / d;
    blocks[b].d = halfOfFloat(d);
    blocks[b].m = halfOfFloat(m);
    for (int j = 0; j < 16; ++j) {
      const int first = nibble((w[j] - m) * inverse);
      const int second = nibble((w[j + 16] - m) * inverse);
      blocks[b].q[j] = static_cast<uint8_t>(first | second << 4);
    }
  }
}

}  // namespace

const QuantType kQuantQ4_1{DType::kQ4_1, "Q4_1", 3, 32, 20, dequantize, quantize};

}  // namespace baton
