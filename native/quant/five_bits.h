// SPDX-License-Identifier: Apache-2.0
// The 32 five-bit integers of Q5_0 and Q5_1: 16 bytes of nibbles and 32 bits (blocks.h).
#pragma once

#include <cstdint>

namespace baton {

inline void unpackFiveBits(const uint8_t* nibbles, const uint8_t* high, int8_t* q) {
  for (int i = 0; i < 32; ++i) {
    const int low = i < 16 ? nibbles[i] & 15 : nibbles[i - 16] >> 4;
    q[i] = static_cast<int8_t>(low | (high[i / 8] >> (i % 8) & 1) << 4);
  }
}

inline void packFiveBits(const int* q, uint8_t* nibbles, uint8_t* high) {
  for (int j = 0; j < 4; ++j) high[j] = 0;
  for (int j = 0; j < 16; ++j) {
    nibbles[j] = static_cast<uint8_t>((q[j] & 15) | (q[j + 16] & 15) << 4);
  }
  for (int i = 0; i < 32; ++i) {
    high[i / 8] = static_cast<uint8_t>(high[i / 8] | q[i] >> 4 << (i % 8));
  }
}

}  // namespace baton
