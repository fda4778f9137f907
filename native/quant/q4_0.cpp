// SPDX-License-Identifier: Apache-2.0
// Q4_0: 32 nibbles around 8 and a scale d.
#include "base/half.h"
#include "quant/blocks.h"
#include "quant/blockwise.h"
#include "quant/formats.h"

namespace baton {
namespace {

void unpack(const BlockQ4_0& block, int8_t* q, float* d, float* c) {
  for (int j = 0; j < 16; ++j) {
    q[j] = static_cast<int8_t>(block.q[j] & 15);
    q[j + 16] = static_cast<int8_t>(block.q[j] >> 4);
  }
  d[0] = d[1] = floatOfHalf(block.d);
  c[0] = c[1] = -8.0f * d[0];
}

void quantize(const float* w, BlockQ4_0& block) {
  const float d = extremeOf(w, 32) / -8.0f;
  const float inverse = d == 0 ? 0.0f : 1.0f / d;
  block.d = halfOfFloat(d);
  for (int j = 0; j < 16; ++j) {
    const int low = roundedWithin(w[j] * inverse + 8.0f, 0, 15);
    const int high = roundedWithin(w[j + 16] * inverse + 8.0f, 0, 15);
    block.q[j] = static_cast<uint8_t>(low | high << 4);
  }
}

}  // namespace

const QuantType kQuantQ4_0 = blockType<BlockQ4_0, 32, unpack, quantize>(DType::kQ4_0, "Q4_0", 2);

}  // namespace baton
