// SPDX-License-Identifier: Apache-2.0
// What Q4_K and Q5_K share: eight groups of 32, each over [-dmin * min, -dmin * min + d * scale *
// most], with 6-bit integers scale and min.
//
// The twelve bytes s of the integers: of groups 0 .. 3, scale_g is the low six bits of s[g] and
// min_g those of s[g + 4]. Groups 4 .. 7 have their low four bits in the nibbles of s[g + 4] (scale
// low, min high) and their high two bits in the top of s[g - 4] (scale) and of s[g] (min).
#pragma once

#include <cstdint>

namespace baton {

struct KGroup {
  int scale, min;
};

static constexpr KGroup kGroupOf(const uint8_t* s, int g) {
  if (g < 4) return {s[g] & 63, s[g + 4] & 63};
  return {(s[g + 4] & 15) | s[g - 4] >> 6 << 4, s[g + 4] >> 4 | s[g] >> 6 << 4};
}

// A super-block of w [256] as integers q in 0 .. most. Every group's interval includes 0.
struct KQuants {
  uint16_t d, dmin;
  uint8_t scales[12];
  uint8_t q[256];
};
KQuants quantizeKGroups(const float* w, int most);

}  // namespace baton
