// SPDX-License-Identifier: Apache-2.0
// Reference of linear.h: one weight row at a time, unpacked by the formula of its format.
#include <cstring>

#include "base/half.h"
#include "kernels/variants.h"
#include "quant/blocks.h"

namespace baton {
namespace {

// ---- float32 arithmetic: row n of W, dequantised exactly

void dequantizeRow(const LinearArgs& a, int n, float* w) {
  const size_t at = static_cast<size_t>(n) * static_cast<size_t>(a.K);
  for (int k = 0; k < a.K; ++k) {
    const size_t i = at + static_cast<size_t>(k);
    const size_t j = i % 32;
    switch (a.type) {
      case DType::kF32:
        std::memcpy(&w[k], static_cast<const float*>(a.weight) + i, 4);
        break;
      case DType::kF16:
        w[k] = floatOfHalf(static_cast<const uint16_t*>(a.weight)[i]);
        break;
      case DType::kBF16:
        w[k] = floatOfBfloat(static_cast<const uint16_t*>(a.weight)[i]);
        break;
      case DType::kQ8_0: {
        const BlockQ8_0& b = static_cast<const BlockQ8_0*>(a.weight)[i / 32];
        w[k] = floatOfHalf(b.d) * static_cast<float>(b.q[j]);
        break;
      }
      case DType::kQ4_0: {
        const BlockQ4_0& b = static_cast<const BlockQ4_0*>(a.weight)[i / 32];
        const int q = j < 16 ? b.q[j] & 15 : b.q[j - 16] >> 4;
        w[k] = floatOfHalf(b.d) * static_cast<float>(q - 8);
        break;
      }
      case DType::kQ4_1: {
        const BlockQ4_1& b = static_cast<const BlockQ4_1*>(a.weight)[i / 32];
        const int q = j < 16 ? b.q[j] & 15 : b.q[j - 16] >> 4;
        w[k] = floatOfHalf(b.d) * static_cast<float>(q) + floatOfHalf(b.m);
        break;
      }
    }
  }
}

float dotFloat(const float* w, const float* x, int K) {
  float sum = 0;
  for (int k = 0; k < K; ++k) sum += w[k] * x[k];
  return sum;
}

// ---- int8 arithmetic: row n of W as unsigned q with scale d and offset c per group

struct GroupRow {
  uint8_t* q;  // [K]
  float* d;    // [K / 32]
  float* c;    // [K / 32]
};

void unpackRow(const LinearArgs& a, int n, const GroupRow& row) {
  const int groups = a.K / kGroup;
  for (int g = 0; g < groups; ++g) {
    const size_t block = static_cast<size_t>(n) * static_cast<size_t>(groups) + g;
    uint8_t* q = row.q + g * kGroup;
    if (a.type == DType::kQ8_0) {
      const BlockQ8_0& b = static_cast<const BlockQ8_0*>(a.weight)[block];
      for (int j = 0; j < 32; ++j) q[j] = static_cast<uint8_t>(b.q[j] + 128);
      row.d[g] = floatOfHalf(b.d);
      row.c[g] = -128.0f * row.d[g];
      continue;
    }
    const auto* q4_0 = static_cast<const BlockQ4_0*>(a.weight);
    const auto* q4_1 = static_cast<const BlockQ4_1*>(a.weight);
    const bool offset = a.type == DType::kQ4_1;
    const uint8_t* packed = offset ? q4_1[block].q : q4_0[block].q;
    for (int j = 0; j < 16; ++j) {
      q[j] = packed[j] & 15;
      q[j + 16] = packed[j] >> 4;
    }
    row.d[g] = floatOfHalf(offset ? q4_1[block].d : q4_0[block].d);
    row.c[g] = offset ? floatOfHalf(q4_1[block].m) : -8.0f * row.d[g];
  }
}

float dotInt8(const LinearArgs& a, const GroupRow& row, int r) {
  const int groups = a.K / kGroup;
  const int8_t* xq = a.xq + static_cast<size_t>(r) * a.K;
  const float* xd = a.xd + static_cast<size_t>(r) * groups;
  const float* xs = a.xs + static_cast<size_t>(r) * groups;
  float sum = 0;
  for (int g = 0; g < groups; ++g) {
    int32_t dot = 0;
    for (int k = g * kGroup; k < (g + 1) * kGroup; ++k) dot += row.q[k] * xq[k];
    sum += row.d[g] * xd[g] * static_cast<float>(dot);
    sum += row.c[g] * xs[g];
  }
  return sum;
}

}  // namespace

void linearScalar(const LinearArgs& a, int n0, int n1, void* scratch) {
  auto* w = static_cast<float*>(scratch);
  const GroupRow row{static_cast<uint8_t*>(scratch), w + a.K, w + a.K + a.K / kGroup};
  for (int n = n0; n < n1; ++n) {
    if (a.xq != nullptr) {
      unpackRow(a, n, row);
    } else {
      dequantizeRow(a, n, w);
    }
    for (int r = 0; r < a.R; ++r) {
      const float sum = a.xq != nullptr ? dotInt8(a, row, r)
                                        : dotFloat(w, a.x + static_cast<size_t>(r) * a.K, a.K);
      float& y = a.y[static_cast<size_t>(r) * a.ldy + n];
      y = a.accumulate ? y + sum : sum;
    }
  }
}

}  // namespace baton
