// SPDX-License-Identifier: Apache-2.0
// Q5_0: 32 five-bit integers around 16 and a scale d.
#include "base/half.h"
#include "quant/blocks.h"
#include "quant/blockwise.h"
#include "quant/five_bits.h"
#include "quant/formats.h"

namespace baton {
namespace {

void unpack(const BlockQ5_0& block, int8_t* q, float* d, float* c) {
  unpackFiveBits(block.q, block.high, q);
  d[0] = d[1] = floatOfHalf(block.d);
  c[0] = c[1] = -16.0f * d[0];
}

void quantize(const float* w, BlockQ5_0& block) {
  const float d = extremeOf(w, 32) / -16.0f;
  const float inverse = d == 0 ? 0.0f : 1.0f / d;
  block.d = halfOfFloat(d);
  int q[32];
  for (int i = 0; i < 32; ++i) q[i] = roundedWithin(w[i] * inverse + 16.0f, 0, 31);
  packFiveBits(q, block.q, block.high);
}

}  // namespace

const QuantType kQuantQ5_0 = blockType<BlockQ5_0, 32, unpack, quantize>(DType::kQ5_0, "Q5_0", 6);

}  // namespace baton
