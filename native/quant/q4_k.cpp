// SPDX-License-Identifier: Apache-2.0
// Q4_K: super-blocks of 256, four bits an element.
#include "base/half.h"
#include "quant/blocks.h"
#include "quant/blockwise.h"
#include "quant/formats.h"
#include "quant/k_groups.h"

namespace baton {
namespace {

void unpack(const BlockQ4_K& block, int8_t* q, float* d, float* c) {
  const float size = floatOfHalf(block.d), floor = floatOfHalf(block.dmin);
  for (int g = 0; g < 8; ++g) {
    const KGroup group = kGroupOf(block.scales, g);
    d[2 * g] = d[2 * g + 1] = size * static_cast<float>(group.scale);
    c[2 * g] = c[2 * g + 1] = -floor * static_cast<float>(group.min);
    for (int l = 0; l < 32; ++l) {
      q[32 * g + l] = static_cast<int8_t>(block.q[g / 2 * 32 + l] >> (4 * (g % 2)) & 15);
    }
  }
}

void quantize(const float* w, BlockQ4_K& block) {
  const KQuants quants = quantizeKGroups(w, 15);
  block.d = quants.d;
  block.dmin = quants.dmin;
  std::copy_n(quants.scales, 12, block.scales);
  for (int i = 0; i < 128; ++i) {
    const uint8_t* q = quants.q + i / 32 * 64 + i % 32;
    block.q[i] = static_cast<uint8_t>(q[0] | q[32] << 4);
  }
}

}  // namespace

const QuantType kQuantQ4_K = blockType<BlockQ4_K, 256, unpack, quantize>(DType::kQ4_K, "Q4_K", 12);

}  // namespace baton
