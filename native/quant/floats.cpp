// SPDX-License-Identifier: Apache-2.0
// The formats without blocks: float32, float16 (IEEE 754 binary16) and bfloat16 (the upper half of
// a float32).
#include <cstring>

#include "base/half.h"
#include "quant/formats.h"

namespace baton {
namespace {

void copyFloats(const void* src, float* dst, size_t n) {
  std::memcpy(dst, src, n * 4);
}
void copyFloatsBack(const float* src, void* dst, size_t n) {
  std::memcpy(dst, src, n * 4);
}

template <float (*convert)(uint16_t)>
void widen(const void* src, float* dst, size_t n) {
  const auto* in = static_cast<const uint16_t*>(src);
  for (size_t i = 0; i < n; ++i) dst[i] = convert(in[i]);
}

template <uint16_t (*convert)(float)>
void narrow(const float* src, void* dst, size_t n) {
  auto* out = static_cast<uint16_t*>(dst);
  for (size_t i = 0; i < n; ++i) out[i] = convert(src[i]);
}

}  // namespace

const QuantType kQuantF32{DType::kF32, "F32", 0, 1, 4, copyFloats, copyFloatsBack, nullptr};
const QuantType kQuantF16{DType::kF16,         "F16",  1, 1, 2, widen<floatOfHalf>,
                          narrow<halfOfFloat>, nullptr};
const QuantType kQuantBF16{DType::kBF16,          "BF16", 30, 1, 2, widen<floatOfBfloat>,
                           narrow<bfloatOfFloat>, nullptr};

}  // namespace baton
