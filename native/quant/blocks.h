// SPDX-License-Identifier: Apache-2.0
// Byte layout of the weight blocks as GGUF stores them. Every quantised block holds 32 elements;
// scales are float16. In the 4-bit types byte j holds element j in its low and element j + 16 in
// its high nibble.
#pragma once

#include <cstdint>

namespace baton {

struct BlockQ8_0 {  // w = d * q
  uint16_t d;
  int8_t q[32];
};
static_assert(sizeof(BlockQ8_0) == 34);

struct BlockQ4_0 {  // w = d * (q - 8)
  uint16_t d;
  uint8_t q[16];
};
static_assert(sizeof(BlockQ4_0) == 18);

struct BlockQ4_1 {  // w = d * q + m
  uint16_t d;
  uint16_t m;
  uint8_t q[16];
};
static_assert(sizeof(BlockQ4_1) == 20);

}  // namespace baton
