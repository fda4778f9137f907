// SPDX-License-Identifier: Apache-2.0
// Q6_K: super-blocks of 256, six bits an element around 32, an 8-bit scale for each 16.
#include "base/half.h"
#include "quant/blocks.h"
#include "quant/blockwise.h"
#include "quant/formats.h"

namespace baton {
namespace {

void unpack(const BlockQ6_K& block, int8_t* q, float* d, float* c) {
  for (int g = 0; g < 8; ++g) {
    const int half = g / 4, part = g % 4;
    for (int l = 0; l < 32; ++l) {
      const int low = block.low[64 * half + 32 * (part % 2) + l] >> (4 * (part / 2)) & 15;
      const int high = block.high[32 * half + l] >> (2 * part) & 3;
      q[32 * g + l] = static_cast<int8_t>((low | high << 4) - 32);
    }
  }
  const float size = floatOfHalf(block.d);
  for (int s = 0; s < 16; ++s) {
    d[s] = size * static_cast<float>(block.scales[s]);
    c[s] = 0;
  }
}

void quantize(const float* w, BlockQ6_K& block) {
  float step[16];  // of a section; negative when its extreme element is positive
  for (int s = 0; s < 16; ++s) step[s] = extremeOf(w + 16 * s, 16) / -32.0f;
  block.d = halfOfFloat(extremeOf(step, 16) / -128.0f);
  const float d = floatOfHalf(block.d);
  int q[256];
  for (int s = 0; s < 16; ++s) {
    const int scale = d == 0 ? 0 : roundedWithin(step[s] / d, -128, 127);
    block.scales[s] = static_cast<int8_t>(scale);
    const float size = d * static_cast<float>(scale);
    for (int i = 16 * s; i < 16 * (s + 1); ++i) {
      q[i] = size == 0 ? 32 : roundedWithin(w[i] / size, -32, 31) + 32;
    }
  }
  for (int half = 0; half < 2; ++half) {
    const int* from = q + 128 * half;
    for (int l = 0; l < 32; ++l) {
      const int a = from[l], b = from[l + 32], c = from[l + 64], e = from[l + 96];
      block.low[64 * half + l] = static_cast<uint8_t>((a & 15) | (c & 15) << 4);
      block.low[64 * half + 32 + l] = static_cast<uint8_t>((b & 15) | (e & 15) << 4);
      block.high[32 * half + l] =
          static_cast<uint8_t>(a >> 4 | b >> 4 << 2 | c >> 4 << 4 | e >> 4 << 6);
    }
  }
}

}  // namespace

const QuantType kQuantQ6_K = blockType<BlockQ6_K, 256, unpack, quantize>(DType::kQ6_K, "Q6_K", 14);

}  // namespace baton
