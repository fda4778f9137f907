// SPDX-License-Identifier: Apache-2.0
// Q4_1: 32 nibbles over [m, m + 15 d].
#include "base/half.h"
#include "quant/blocks.h"
#include "quant/blockwise.h"
#include "quant/formats.h"

namespace baton {
namespace {

void unpack(const BlockQ4_1& block, int8_t* q, float* d, float* c) {
  for (int j = 0; j < 16; ++j) {
    q[j] = static_cast<int8_t>(block.q[j] & 15);
    q[j + 16] = static_cast<int8_t>(block.q[j] >> 4);
  }
  d[0] = d[1] = floatOfHalf(block.d);
  c[0] = c[1] = floatOfHalf(block.m);
}

void quantize(const float* w, BlockQ4_1& block) {
  const auto [low, high] = std::minmax_element(w, w + 32);
  const float m = *low;
  const float d = (*high - m) / 15.0f;
  const float inverse = d == 0 ? 0.0f : 1.0f / d;
  block.d = halfOfFloat(d);
  block.m = halfOfFloat(m);
  for (int j = 0; j < 16; ++j) {
    const int first = roundedWithin((w[j] - m) * inverse, 0, 15);
    const int second = roundedWithin((w[j + 16] - m) * inverse, 0, 15);
    block.q[j] = static_cast<uint8_t>(first | second << 4);
  }
}

}  // namespace

const QuantType kQuantQ4_1 = blockType<BlockQ4_1, 32, unpack, quantize>(DType::kQ4_1, "Q4_1", 3);

}  // namespace baton
