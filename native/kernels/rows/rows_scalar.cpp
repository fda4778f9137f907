// SPDX-License-Identifier: Apache-2.0
// References of rows.h.
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "kernels/variants.h"
#include "quant/types.h"

namespace baton {
namespace {

// Groups below this are all zero, so that 127 / largest stays finite.
constexpr float kTiniest = 1e-30f;
constexpr float kLargestHalf = 65504;

struct Int8Row {
  uint16_t scale;  // float16
  float inverse;   // of the scale, 0 where there is none
};

Int8Row int8Row(const float* x, int D) {
  float largest = 0;
  for (int t = 0; t < D; ++t) {
    const float magnitude = std::fabs(x[t]);
    if (!(magnitude <= largest)) largest = magnitude;  // NaN stays
    if (std::isnan(largest)) break;
  }
  const float wanted = largest / 127;
  const uint16_t half = halfOfFloat(wanted > kLargestHalf ? kLargestHalf : wanted);
  const float scale = floatOfHalf(half);
  return {half, scale > 0 ? 1 / scale : 0};
}

int8_t int8Quant(float value) {
  value = value > -127 ? value : -127;  // NaN, too
  return static_cast<int8_t>(std::nearbyint(value < 127 ? value : 127));
}

// A row of K or V of one head: element t goes to first + t * stride of its block.
void storeKv(KvType kv, const float* x, int D, std::byte* base, int row, int first, int stride) {
  const Int8Row int8 = kv == KvType::kInt8 ? int8Row(x, D) : Int8Row{};
  if (kv == KvType::kInt8) {
    std::memcpy(base + D * kBlockRows + 2 * row, &int8.scale, sizeof int8.scale);
  }
  for (int t = 0; t < D; ++t) {
    const int i = first + t * stride;
    switch (kv) {
      case KvType::kF32:
        reinterpret_cast<float*>(base)[i] = x[t];
        break;
      case KvType::kF16:
        reinterpret_cast<uint16_t*>(base)[i] = halfOfFloat(x[t]);
        break;
      case KvType::kBF16:
        reinterpret_cast<uint16_t*>(base)[i] = bfloatOfFloat(x[t]);
        break;
      case KvType::kInt8:
        reinterpret_cast<int8_t*>(base)[i] = int8Quant(x[t] * int8.inverse);
        break;
    }
  }
}

float normScale(const float* x, int M, float epsilon) {
  float squares = 0;
  for (int i = 0; i < M; ++i) squares += x[i] * x[i];
  return 1.0f / std::sqrt(squares / static_cast<float>(M) + epsilon);
}

void quantizeGroup(const float* x, int8_t* q, float& d, float& s) {
  float largest = 0;
  for (int i = 0; i < kGroup; ++i) largest = std::fmax(largest, std::fabs(x[i]));
  const bool zero = largest < kTiniest;
  const float inverse = zero ? 0.0f : 127.0f / largest;
  int sum = 0;
  for (int i = 0; i < kGroup; ++i) {
    const int value = static_cast<int>(std::nearbyint(x[i] * inverse));
    q[i] = static_cast<int8_t>(value > 127 ? 127 : value < -127 ? -127 : value);
    sum += q[i];
  }
  d = zero ? 0.0f : largest / 127.0f;
  s = d * static_cast<float>(sum);
}

}  // namespace

void embedScalar(const EmbedArgs& a, int r0, int r1) {
  const QuantType& type = quantType(a.type);
  const auto M = static_cast<size_t>(a.M);
  for (int r = r0; r < r1; ++r) {
    if (a.tokens[r] < 0) continue;
    const size_t row = static_cast<size_t>(a.tokens[r]) * quantRowBytes(type, a.M);
    float* out = a.out + static_cast<size_t>(r) * M;
    type.dequantize(static_cast<const std::byte*>(a.table) + row, out, M);
    for (size_t i = 0; i < M; ++i) out[i] *= a.scale;
  }
}

void rmsnormScalar(const RmsNormArgs& a, int r0, int r1) {
  for (int r = r0; r < r1; ++r) {
    const float* x = a.x + static_cast<size_t>(r) * a.M;
    float* y = a.y + static_cast<size_t>(r) * a.M;
    const float scale = normScale(x, a.M, a.epsilon);
    for (int i = 0; i < a.M; ++i) {
      const float value = x[i] * scale * a.weight[i];
      y[i] = a.accumulate ? y[i] + value : value;
    }
  }
}

void addBiasScalar(const AddBiasArgs& a, int r0, int r1) {
  for (int r = r0; r < r1; ++r) {
    float* y = a.y + static_cast<size_t>(r) * a.N;
    for (int i = 0; i < a.N; ++i) y[i] += a.bias[i];
  }
}

void quantizeScalar(const QuantizeArgs& a, int r0, int r1) {
  const auto groups = static_cast<size_t>(a.K / kGroup);
  for (size_t g = static_cast<size_t>(r0) * groups; g < static_cast<size_t>(r1) * groups; ++g) {
    quantizeGroup(a.x + g * kGroup, a.q + g * kGroup, a.d[g], a.s[g]);
  }
}

void rmsnormQuantizeScalar(const RmsNormQuantizeArgs& a, int r0, int r1) {
  for (int r = r0; r < r1; ++r) {
    const size_t row = static_cast<size_t>(r) * a.M;
    const float scale = normScale(a.x + row, a.M, a.epsilon);
    for (int i = 0; i < a.M; i += kGroup) {
      float normed[kGroup];
      for (int j = 0; j < kGroup; ++j) normed[j] = a.x[row + i + j] * scale * a.weight[i + j];
      if (a.y != nullptr) std::memcpy(a.y + row + i, normed, sizeof normed);
      const size_t group = (row + i) / kGroup;
      quantizeGroup(normed, a.q + row + i, a.d[group], a.s[group]);
    }
  }
}

void toBf16Scalar(const ToBf16Args& a, int r0, int r1) {
  const auto K = static_cast<size_t>(a.K);
  for (size_t i = static_cast<size_t>(r0) * K; i < static_cast<size_t>(r1) * K; ++i) {
    a.out[i] = bfloatOfFloat(a.x[i]);
  }
}

void ropeScalar(const RopeArgs& a, int r0, int r1) {
  const int half = a.D / 2;
  const bool adjacent = a.pairing == RopePairing::kAdjacent;
  for (int r = r0; r < r1; ++r) {
    const int p = a.positions[r];
    const size_t row = static_cast<size_t>(p < 0 ? -p : p) * static_cast<size_t>(half);
    for (int h = 0; h < a.heads; ++h) {
      const float* x = a.x + static_cast<size_t>(r) * a.ldx + h * a.D;
      float* out = a.out + static_cast<size_t>(r) * a.ldo + h * a.D;
      for (int i = 0; i < half; ++i) {
        const int first = adjacent ? 2 * i : i;
        const int second = adjacent ? 2 * i + 1 : i + half;
        const float c = a.cos[row + i];
        const float s = p < 0 ? -a.sin[row + i] : a.sin[row + i];
        const float x1 = x[first], x2 = x[second];
        out[first] = x1 * c - x2 * s;
        out[second] = x1 * s + x2 * c;
      }
    }
  }
}

void kvStoreScalar(const KvStoreArgs& a, int r0, int r1) {
  for (int r = r0; r < r1; ++r) {
    for (int g = 0; g < a.G; ++g) {
      const size_t at =
          static_cast<size_t>(a.block[r]) * a.blockStride + static_cast<size_t>(g) * a.headStride;
      const float* k = a.k + static_cast<size_t>(r) * a.ldk + g * a.D;
      const float* v = a.v + static_cast<size_t>(r) * a.ldv + g * a.D;
      storeKv(a.kv, k, a.D, a.kBase + at, a.slot[r], a.slot[r], kBlockRows);
      storeKv(a.kv, v, a.D, a.vBase + at, a.slot[r], a.slot[r] * a.D, 1);
    }
  }
}

void swigluScalar(const GluArgs& a, int r0, int r1) {
  const size_t end = static_cast<size_t>(r1) * a.F;
  for (size_t i = static_cast<size_t>(r0) * a.F; i < end; ++i) {
    const float g = a.gate[i];
    a.out[i] = g / (1.0f + std::exp(-g)) * a.up[i];
  }
}

void gegluScalar(const GluArgs& a, int r0, int r1) {
  const size_t end = static_cast<size_t>(r1) * a.F;
  for (size_t i = static_cast<size_t>(r0) * a.F; i < end; ++i) {
    const float g = a.gate[i];
    const float twice = kGeluSlope * (g + kGeluCube * g * g * g);
    a.out[i] = g / (1.0f + std::exp(-twice)) * a.up[i];
  }
}

}  // namespace baton
