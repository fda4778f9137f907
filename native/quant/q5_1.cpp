// SPDX-License-Identifier: Apache-2.0
// Q5_1: 32 five-bit integers over [m, m + 31 d].
#include "base/half.h"
#include "quant/blocks.h"
#include "quant/blockwise.h"
#include "quant/five_bits.h"
#include "quant/formats.h"

namespace baton {
namespace {

void unpack(const BlockQ5_1& block, int8_t* q, float* d, float* c) {
  unpackFiveBits(block.q, block.high, q);
  d[0] = d[1] = floatOfHalf(block.d);
  c[0] = c[1] = floatOfHalf(block.m);
}

void quantize(const float* w, BlockQ5_1& block) {
  const auto [low, high] = std::minmax_element(w, w + 32);
  const float m = *low;
  const float d = (*high - m) / 31.0f;
  const float inverse = d == 0 ? 0.0f : 1.0f / d;
  block.d = halfOfFloat(d);
  block.m = halfOfFloat(m);
  int q[32];
  for (int i = 0; i < 32; ++i) q[i] = roundedWithin((w[i] - m) * inverse, 0, 31);
  packFiveBits(q, block.q, block.high);
}

}  // namespace

const QuantType kQuantQ5_1 = blockType<BlockQ5_1, 32, unpack, quantize>(DType::kQ5_1, "Q5_1", 7);

}  // namespace baton
