// SPDX-License-Identifier: Apache-2.0
// Arithmetic of vdpbf16ps and tdpbf16ps (Intel SDM, volume 2): a fused multiply-add of two bfloat16
// numbers into a float32 one, to nearest even whatever MXCSR says, with subnormal numbers read and
// left as zeros of their sign.
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

inline float addProduct(float sum, uint16_t a, uint16_t b) {
  return flushed(std::fma(floatOf(a), floatOf(b), flushed(sum)));
}

}  // namespace baton::emulation
