// SPDX-License-Identifier: Apache-2.0
// Q8_0: 32 signed bytes and a scale d = max|w| / 127.
#include "base/half.h"
#include "quant/blocks.h"
#include "quant/blockwise.h"
#include "quant/formats.h"

namespace baton {
namespace {

void unpack(const BlockQ8_0& block, int8_t* q, float* d, float* c) {
  std::copy_n(block.q, 32, q);
  d[0] = d[1] = floatOfHalf(block.d);
  c[0] = c[1] = 0;
}

void quantize(const float* w, BlockQ8_0& block) {
  const float d = std::fabs(extremeOf(w, 32)) / 127.0f;
  block.d = halfOfFloat(d);
  for (int i = 0; i < 32; ++i) {
    block.q[i] = static_cast<int8_t>(d == 0 ? 0 : roundedWithin(w[i] / d, -127, 127));
  }
}

}  // namespace

const QuantType kQuantQ8_0 = blockType<BlockQ8_0, 32, unpack, quantize>(DType::kQ8_0, "Q8_0", 8);

}  // namespace baton
