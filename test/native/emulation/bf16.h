// SPDX-License-Identifier: Apache-2.0
// Arithmetic of vcvtne2ps2bf16, vdpbf16ps and tdpbf16ps (Intel SDM, volume 2): rounding to
// bfloat16, and a fused multiply-add of two bfloat16 numbers into a float32 one, both to nearest
// even whatever MXCSR says, with subnormal numbers read and left as zeros of their sign.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace baton::emulation {

inline float flushed(float value) {
  return std::fabs(value) < 0x1p-126f ? std::copysign(0.0f, value) : value;
}

inline float floatOf(uint16_t bfloat) {
  const uint32_t bits = static_cast<uint32_t>(bfloat) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return flushed(value);
}

// To nearest even; a NaN keeps the upper half of its bits and becomes quiet.
inline uint16_t bfloatOf(float value) {
  value = flushed(value);
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float addProduct(float sum, uint16_t a, uint16_t b) {
  return flushed(std::fma(floatOf(a), floatOf(b), flushed(sum)));
}

}  // namespace baton::emulation
