// SPDX-License-Identifier: Apache-2.0
// Q4_0: 32 nibbles around 8 and a scale d. The element of largest magnitude becomes nibble 0 (-8),
// the one value whose mirror image does not exist, so d carries its sign.
#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "quant/blocks.h"
#include "quant/formats.h"

namespace baton {
namespace {

void dequantize(const void* src, float* dst, size_t n) {
  const auto* blocks = static_cast<const BlockQ4_0*>(src);
  for (size_t b = 0; b < n / 32; ++b) {
    const float d = floatOfHalf(blocks[b].d);
    for (size_t j = 0; j < 16; ++j) {
      const int q = blocks[b].q[j];
      dst[b * 32 + j] = d * static_cast<float>((q & 15) - 8);
      dst[b * 32 + j + 16] = d * static_cast<float>((q >> 4) - 8);
    }
  }
}

int nibble(float value) {
  return static_cast<int>(std::clamp(std::lrint(value), 0L, 15L));
}

void quantize(const float* src, void* dst, size_t n) {
  auto* blocks = static_cast<BlockQ4_0*>(dst);
  for (size_t b = 0; b < n / 32; ++b) {
    const float* w = src + b * 32;
    float extreme = 0;
    for (int i = 0; i < 32; ++i) {
      if (std::fabs(w[i]) > std::fabs(extreme)) extreme = w[i];
    }
    const float d = extreme / -8.0f;
    const float inverse = d == 0 ? 0.0f : 1.0f / d;
    blocks[b].d = halfOfFloat(d);
    for (int j = 0; j < 16; ++j) {
      const int low = nibble(w[j] * inverse + 8.0f);
      const int high = nibble(w[j + 16] * inverse + 8.0f);
      blocks[b].q[j] = static_cast<uint8_t>(low | high << 4);
    }
  }
}

}  // namespace

const QuantType kQuantQ4_0{DType::kQ4_0, "Q4_0", 2, 32, 18, dequantize, quantize};

}  // namespace baton
