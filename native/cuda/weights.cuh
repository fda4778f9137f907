// SPDX-License-Identifier: Apache-2.0
// Numbers of a row of weights as the file stores them (quant/blocks.h), one at a time: exactly what
// the type's dequantize gives. For gathering rows; products read weights repacked.
#pragma once

#include "base/dtype.h"
#include "base/half.h"
#include "cuda/launch.cuh"
#include "quant/blocks.h"
#include "quant/k_groups.h"

namespace baton::cuda {

// w = d * q + c. The product is exact in float32 for every type, so w is rounded once; of a type
// without c it is added all the same, because it makes -0 into 0.
__device__ inline float weightOf(float d, int q, float c) {
  return d * static_cast<float>(q) + c;
}

// Element j of the 32 nibbles in 16 bytes.
__device__ inline int nibble(const uint8_t* q, int j) {
  return j < 16 ? q[j] & 15 : q[j - 16] >> 4;
}

__device__ inline int fiveBits(const uint8_t* q, const uint8_t* high, int j) {
  return nibble(q, j) | (high[j / 8] >> (j % 8) & 1) << 4;
}

// Nibble g % 2 of byte l of the 32 that groups g and g ^ 1 share.
__device__ inline int groupNibble(const uint8_t* q, int g, int l) {
  return q[g / 2 * 32 + l] >> (4 * (g % 2)) & 15;
}

__device__ inline float elementOf(float w, int) {
  return w;
}

struct Half {
  uint16_t bits;
};
__device__ inline float elementOf(Half w, int) {
  return floatOfHalf(w.bits);
}

struct Bfloat {
  uint16_t bits;
};
__device__ inline float elementOf(Bfloat w, int) {
  return floatOfBfloat(w.bits);
}

__device__ inline float elementOf(const BlockQ8_0& block, int j) {
  return weightOf(floatOfHalf(block.d), block.q[j], 0.0f);
}

__device__ inline float elementOf(const BlockQ4_0& block, int j) {
  const float d = floatOfHalf(block.d);
  return weightOf(d, nibble(block.q, j), -8.0f * d);
}

__device__ inline float elementOf(const BlockQ4_1& block, int j) {
  return weightOf(floatOfHalf(block.d), nibble(block.q, j), floatOfHalf(block.m));
}

__device__ inline float elementOf(const BlockQ5_0& block, int j) {
  const float d = floatOfHalf(block.d);
  return weightOf(d, fiveBits(block.q, block.high, j), -16.0f * d);
}

__device__ inline float elementOf(const BlockQ5_1& block, int j) {
  return weightOf(floatOfHalf(block.d), fiveBits(block.q, block.high, j), floatOfHalf(block.m));
}

__device__ inline float elementOf(const BlockQ4_K& block, int j) {
  const int g = j / 32;
  const KGroup group = kGroupOf(block.scales, g);
  return weightOf(floatOfHalf(block.d) * static_cast<float>(group.scale),
                  groupNibble(block.q, g, j % 32),
                  -floatOfHalf(block.dmin) * static_cast<float>(group.min));
}

__device__ inline float elementOf(const BlockQ5_K& block, int j) {
  const int g = j / 32, l = j % 32;
  const KGroup group = kGroupOf(block.scales, g);
  return weightOf(floatOfHalf(block.d) * static_cast<float>(group.scale),
                  groupNibble(block.q, g, l) | (block.high[l] >> g & 1) << 4,
                  -floatOfHalf(block.dmin) * static_cast<float>(group.min));
}

__device__ inline float elementOf(const BlockQ6_K& block, int j) {
  const int half = j / 128, part = j / 32 % 4, l = j % 32;
  const int low = block.low[64 * half + 32 * (part % 2) + l] >> (4 * (part / 2)) & 15;
  const int high = block.high[32 * half + l] >> (2 * part) & 3;
  return weightOf(floatOfHalf(block.d) * static_cast<float>(block.scales[j / 16]),
                  (low | high << 4) - 32, 0.0f);
}

// How rows of a type are stored: blocks of so many elements.
template <class T, int kCount>
struct RowsOf {
  using Block = T;
  static constexpr int kElements = kCount;
};

// fn(RowsOf<...>{}) for the type, on the host.
template <class Fn>
auto withRowsOf(DType type, const Fn& fn) {
  switch (type) {
    case DType::kF32:
      break;
    case DType::kF16:
      return fn(RowsOf<Half, 1>{});
    case DType::kBF16:
      return fn(RowsOf<Bfloat, 1>{});
    case DType::kQ8_0:
      return fn(RowsOf<BlockQ8_0, 32>{});
    case DType::kQ4_0:
      return fn(RowsOf<BlockQ4_0, 32>{});
    case DType::kQ4_1:
      return fn(RowsOf<BlockQ4_1, 32>{});
    case DType::kQ5_0:
      return fn(RowsOf<BlockQ5_0, 32>{});
    case DType::kQ5_1:
      return fn(RowsOf<BlockQ5_1, 32>{});
    case DType::kQ4_K:
      return fn(RowsOf<BlockQ4_K, 256>{});
    case DType::kQ5_K:
      return fn(RowsOf<BlockQ5_K, 256>{});
    case DType::kQ6_K:
      return fn(RowsOf<BlockQ6_K, 256>{});
  }
  return fn(RowsOf<float, 1>{});
}

}  // namespace baton::cuda
