// SPDX-License-Identifier: Apache-2.0
// Reference of linear.h: one weight row at a time, read by the codec of its format.
#include "base/half.h"
#include "kernels/variants.h"
#include "quant/types.h"

namespace baton {
namespace {

float dotFloat(const float* w, const float* x, int K) {
  float sum = 0;
  for (int k = 0; k < K; ++k) sum += w[k] * x[k];
  return sum;
}

float dotBf16(const float* w, const uint16_t* x, int K) {
  float sum = 0;
  for (int k = 0; k < K; ++k) sum += w[k] * floatOfBfloat(x[k]);
  return sum;
}

// One row of W as integers, with a scale and an offset for each section.
struct UnpackedRow {
  int8_t* q;  // [K]
  float* d;   // [K / 16]
  float* c;   // [K / 16], the same for both sections of a group
};

float dotInt8(const LinearArgs& a, const UnpackedRow& w, int r) {
  constexpr int kSections = kGroup / kSection;
  const int groups = a.K / kGroup;
  const int8_t* xq = a.xq + static_cast<size_t>(r) * a.K;
  const float* xd = a.xd + static_cast<size_t>(r) * groups;
  const float* xs = a.xs + static_cast<size_t>(r) * groups;
  float sum = 0;
  for (int g = 0; g < groups; ++g) {
    for (int s = kSections * g; s < kSections * (g + 1); ++s) {
      int32_t dot = 0;
      for (int k = s * kSection; k < (s + 1) * kSection; ++k) dot += w.q[k] * xq[k];
      sum += w.d[s] * xd[g] * static_cast<float>(dot);
    }
    sum += w.c[kSections * g] * xs[g];
  }
  return sum;
}

}  // namespace

void linearScalar(const LinearArgs& a, int n0, int n1, void* scratch) {
  const QuantType& type = quantType(a.type);
  const auto K = static_cast<size_t>(a.K);
  const size_t rowBytes = quantRowBytes(type, a.K);
  auto* w = static_cast<float*>(scratch);
  auto* d = reinterpret_cast<float*>(static_cast<int8_t*>(scratch) + K);
  const UnpackedRow row{static_cast<int8_t*>(scratch), d, d + K / kSection};
  for (int n = n0; n < n1; ++n) {
    const auto* packed =
        static_cast<const std::byte*>(a.weight) + static_cast<size_t>(n) * rowBytes;
    if (a.xq != nullptr) {
      type.unpack(packed, row.q, row.d, row.c, K);
    } else {
      type.dequantize(packed, w, K);
    }
    for (int r = 0; r < a.R; ++r) {
      const float sum =
          a.xq != nullptr ? dotInt8(a, row, r) : dotFloat(w, a.x + static_cast<size_t>(r) * K, a.K);
      float& y = a.y[static_cast<size_t>(r) * a.ldy + n];
      y = a.accumulate ? y + sum : sum;
    }
  }
}

void linearBf16Scalar(const LinearArgs& a, int n0, int n1, void* scratch) {
  const QuantType& type = quantType(a.type);
  const auto K = static_cast<size_t>(a.K);
  auto* w = static_cast<float*>(scratch);
  for (int n = n0; n < n1; ++n) {
    const size_t at = static_cast<size_t>(n) * quantRowBytes(type, a.K);
    type.dequantize(static_cast<const std::byte*>(a.weight) + at, w, K);
    for (int r = 0; r < a.R; ++r) {
      const float sum = dotBf16(w, a.xb + static_cast<size_t>(r) * K, a.K);
      float& y = a.y[static_cast<size_t>(r) * static_cast<size_t>(a.ldy) + static_cast<size_t>(n)];
      y = a.accumulate ? y + sum : sum;
    }
  }
}

}  // namespace baton
