// SPDX-License-Identifier: Apache-2.0
// Conversions between float32 and its 16-bit relatives, round to nearest even, subnormals kept, NaN
// stays NaN. Static, because kernels include it (see dtype.h); constant expressions, so that device
// code may call them, too.
#pragma once

#include <cstdint>

namespace baton {

static constexpr uint32_t bitsOfFloat(float value) {
  return __builtin_bit_cast(uint32_t, value);
}

static constexpr float floatOfBits(uint32_t bits) {
  return __builtin_bit_cast(float, bits);
}

static constexpr float floatOfHalf(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = half >> 10 & 0x1f;
  const uint32_t mantissa = half & 0x3ff;
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24, exact in float32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return floatOfBits(sign | bitsOfFloat(magnitude));
  }
  if (exponent == 31) return floatOfBits(sign | 0x7f800000u | mantissa << 13);
  return floatOfBits(sign | (exponent + 112) << 23 | mantissa << 13);
}

static constexpr uint16_t halfOfFloat(float value) {
  const uint32_t bits = bitsOfFloat(value);
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7e00;   // NaN, made quiet
  if (magnitude >= 0x477ff000u) return sign | 0x7c00;  // 65520 and more round to infinity
  if (magnitude < 0x38800000u) {                       // below 2^-14: subnormal
    // Adding 0.5 puts the float's unit in the last place at 2^-24, so the hardware rounds for us.
    const float shifted = floatOfBits(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (bitsOfFloat(shifted) - 0x3f000000u));
  }
  const uint32_t odd = magnitude >> 13 & 1;
  return static_cast<uint16_t>(sign | (magnitude - 0x38000000u + 0xfff + odd) >> 13);
}

static constexpr float floatOfBfloat(uint16_t value) {
  return floatOfBits(static_cast<uint32_t>(value) << 16);
}

static constexpr uint16_t bfloatOfFloat(float value) {
  const uint32_t bits = bitsOfFloat(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace baton
