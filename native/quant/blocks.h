// SPDX-License-Identifier: Apache-2.0
// Byte layout of the weight blocks as GGUF stores them. Scales are float16.
//
// Blocks of 32: in the 4- and 5-bit types byte j holds element j in its low and element j + 16 in
// its high nibble; the fifth bits are bit i of the 32-bit number `high`, for element i.
//
// Super-blocks of 256, eight groups of 32: the scales of the groups are integers themselves, with
// one float16 scale for all of them. Each 32 bytes of low bits hold two groups, one per nibble.
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

struct BlockQ5_0 {  // w = d * (q - 16)
  uint16_t d;
  uint8_t high[4];
  uint8_t q[16];
};
static_assert(sizeof(BlockQ5_0) == 22);

struct BlockQ5_1 {  // w = d * q + m
  uint16_t d;
  uint16_t m;
  uint8_t high[4];
  uint8_t q[16];
};
static_assert(sizeof(BlockQ5_1) == 24);

// Group g has the 6-bit integers scale_g and min_g (k_groups.h); its quants are nibble g % 2 of
// bytes 32 (g / 2) .. + 31.
struct BlockQ4_K {  // w = d * scale_g * q - dmin * min_g
  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];
  uint8_t q[128];
};
static_assert(sizeof(BlockQ4_K) == 144);

// As Q4_K, and the fifth bit of element l of group g is bit g of high[l].
struct BlockQ5_K {
  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];
  uint8_t high[32];
  uint8_t q[128];
};
static_assert(sizeof(BlockQ5_K) == 176);

// A scale for each 16 elements. Of group g = 4 h + i, the low four bits are nibble i / 2 of bytes
// 64 h + 32 (i % 2) .. + 31 of `low`, the high two are bits 2 i and 2 i + 1 of bytes 32 h .. + 31
// of `high`.
struct BlockQ6_K {  // w = d * scale * (q - 32)
  uint8_t low[128];
  uint8_t high[64];
  int8_t scales[16];
  uint16_t d;
};
static_assert(sizeof(BlockQ6_K) == 210);

}  // namespace baton
