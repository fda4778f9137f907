// SPDX-License-Identifier: Apache-2.0
// Numbers of K and V as the pool stores them (kernels/rows.h says how), for what writes them.
#pragma once

#include "base/dtype.h"
#include "base/half.h"
#include "cuda/lanes.cuh"

namespace baton::cuda {

inline constexpr float kLargestHalf = 65504;

// The larger magnitude; a NaN stays.
struct LargestOrNan {
  __device__ float operator()(float a, float b) const {
    if (a != a) return a;
    return b <= a ? a : b;
  }
};

struct Int8Row {
  uint16_t scale;  // float16
  float inverse;   // of the scale, 0 where there is none
};

__device__ inline Int8Row int8Row(float largest) {
  const float wanted = largest / 127.0f;
  const uint16_t half = halfOfFloat(wanted > kLargestHalf ? kLargestHalf : wanted);
  const float scale = floatOfHalf(half);
  return {half, scale > 0 ? 1.0f / scale : 0.0f};
}

// What of a number is stored; `inverse` is of int8 only.
template <KvType kKv>
struct Stored;
template <>
struct Stored<KvType::kF32> {
  using Type = float;
  __device__ static Type of(float x, float) { return x; }
};
template <>
struct Stored<KvType::kF16> {
  using Type = uint16_t;
  __device__ static Type of(float x, float) { return halfOfFloat(x); }
};
template <>
struct Stored<KvType::kBF16> {
  using Type = uint16_t;
  __device__ static Type of(float x, float) { return bfloatOfFloat(x); }
};
template <>
struct Stored<KvType::kInt8> {
  using Type = int8_t;
  __device__ static Type of(float x, float inverse) {
    float value = x * inverse;
    value = value > -127 ? value : -127;  // NaN, too
    return static_cast<int8_t>(rintf(value < 127 ? value : 127));
  }
};

// The scales of the rows of a block of one kv head, of int8.
__device__ inline uint16_t* scalesOf(std::byte* base, int D) {
  return reinterpret_cast<uint16_t*>(base + static_cast<size_t>(D) * kBlockRows);
}

}  // namespace baton::cuda
