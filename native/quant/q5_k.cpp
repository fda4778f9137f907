// SPDX-License-Identifier: Apache-2.0
// Q5_K: super-blocks of 256, five bits an element.
#include "base/half.h"
#include "quant/blocks.h"
#include "quant/blockwise.h"
#include "quant/formats.h"
#include "quant/k_groups.h"

namespace baton {
namespace {

void unpack(const BlockQ5_K& block, int8_t* q, float* d, float* c) {
  const float size = floatOfHalf(block.d), floor = floatOfHalf(block.dmin);
  for (int g = 0; g < 8; ++g) {
    const KGroup group = kGroupOf(block.scales, g);
    d[2 * g] = d[2 * g + 1] = size * static_cast<float>(group.scale);
    c[2 * g] = c[2 * g + 1] = -floor * static_cast<float>(group.min);
    for (int l = 0; l < 32; ++l) {
      const int low = block.q[g / 2 * 32 + l] >> (4 * (g % 2)) & 15;
      q[32 * g + l] = static_cast<int8_t>(low | (block.high[l] >> g & 1) << 4);
    }
  }
}

void quantize(const float* w, BlockQ5_K& block) {
  const KQuants quants = quantizeKGroups(w, 31);
  block.d = quants.d;
  block.dmin = quants.dmin;
  std::copy_n(quants.scales, 12, block.scales);
  for (int i = 0; i < 128; ++i) {
    const uint8_t* q = quants.q + i / 32 * 64 + i % 32;
    block.q[i] = static_cast<uint8_t>((q[0] & 15) | (q[32] & 15) << 4);
  }
  for (int l = 0; l < 32; ++l) {
    int bits = 0;
    for (int g = 0; g < 8; ++g) bits |= quants.q[32 * g + l] >> 4 << g;
    block.high[l] = static_cast<uint8_t>(bits);
  }
}

}  // namespace

const QuantType kQuantQ5_K = blockType<BlockQ5_K, 256, unpack, quantize>(DType::kQ5_K, "Q5_K", 13);

}  // namespace baton
