// SPDX-License-Identifier: Apache-2.0
// Q8_0: 32 signed bytes and a scale d = max|w| / 127.
#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "quant/blocks.h"
#include "quant/formats.h"

namespace baton {
namespace {

void dequantize(const void* src, float* dst, size_t n) {
  const auto* blocks = static_cast<const BlockQ8_0*>(src);
  for (size_t i = 0; i < n; ++i) {
    const BlockQ8_0& block = blocks[i / 32];
    dst[i] = floatOfHalf(block.d) * static_cast<float>(block.q[i % 32]);
  }
}

void quantize(const float* src, void* dst, size_t n) {
  auto* blocks = static_cast<BlockQ8_0*>(dst);
  for (size_t b = 0; b < n / 32; ++b) {
    const float* w = src + b * 32;
    float largest = 0;
    for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(w[i]));
    const float d = largest / 127.0f;
    blocks[b].d = halfOfFloat(d);
    for (int i = 0; i < 32; ++i) {
      blocks[b].q[i] = static_cast<int8_t>(d == 0 ? 0 : std::lrint(w[i] / d));
    }
  }
}

}  // namespace

const QuantType kQuantQ8_0{DType::kQ8_0, "Q8_0", 8, 32, 34, dequantize, quantize};

}  // namespace baton
