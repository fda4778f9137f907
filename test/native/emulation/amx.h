// SPDX-License-Identifier: Apache-2.0
// The tiles of AMX in memory, as the Intel SDM describes them (volume 1, "Programming with Intel
// AMX", and the instructions in volume 2): included ahead of each kernel by the compiler's command
// line. What a shape does not cover is zero after a load, and products of tiles whose shapes do not
// meet are poison, so that a kernel with a wrong shape gives wrong numbers here, too.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "bf16.h"

namespace baton::emulation {

struct Tile {
  int rows = 0, rowBytes = 0;
  uint8_t at[16][64] = {};

  int32_t word(int row, int column) const {
    int32_t value;
    std::memcpy(&value, &at[row][4 * column], 4);
    return value;
  }
  void setWord(int row, int column, int32_t value) { std::memcpy(&at[row][4 * column], &value, 4); }
};

inline thread_local Tile tiles[8];

inline void tileLoadConfig(const void* shapes) {
  uint8_t bytes[64];
  std::memcpy(bytes, shapes, sizeof bytes);
  for (int t = 0; t < 8; ++t) {
    tiles[t] = {};
    tiles[t].rowBytes = bytes[16 + 2 * t] | bytes[17 + 2 * t] << 8;
    tiles[t].rows = bytes[48 + t];
  }
}

inline void tileRelease() {
  for (Tile& tile : tiles) tile = {};
}

inline void tileZero(int t) {
  std::memset(tiles[t].at, 0, sizeof tiles[t].at);
}

inline void tileLoad(int t, const void* base, int64_t stride) {
  tileZero(t);
  for (int row = 0; row < tiles[t].rows; ++row) {
    std::memcpy(tiles[t].at[row], static_cast<const char*>(base) + row * stride,
                static_cast<size_t>(tiles[t].rowBytes));
  }
}

inline void tileStore(int t, void* base, int64_t stride) {
  for (int row = 0; row < tiles[t].rows; ++row) {
    std::memcpy(static_cast<char*>(base) + row * stride, tiles[t].at[row],
                static_cast<size_t>(tiles[t].rowBytes));
  }
}

// Shapes of tiles that a product sum += left * right may have.
inline bool meet(const Tile& sum, const Tile& left, const Tile& right) {
  return sum.rows == left.rows && sum.rowBytes == right.rowBytes &&
         left.rowBytes == 4 * right.rows && sum.rows > 0;
}

// to[m][n] += sum over k of a[m][k] b[k / 4][4 n + k % 4].
template <class A, class B>
void tileDots(int to, int a, int b) {
  Tile& sum = tiles[to];
  const Tile &left = tiles[a], &right = tiles[b];
  const bool fit = meet(sum, left, right);
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 16; ++n) {
      int32_t dot = fit ? sum.word(m, n) : INT32_MIN;
      for (int k = 0; fit && k < left.rowBytes; ++k) {
        dot += static_cast<A>(left.at[m][k]) * static_cast<B>(right.at[k / 4][4 * n + k % 4]);
      }
      sum.setWord(m, n, dot);
    }
  }
}

// to[m][n] += sum over k of a[m][k] b[k / 2][2 n + k % 2], elements being bfloat16: those of even k
// and those of odd k are added up apart, in ascending order, and both sums go to `to` as one.
inline void tileDotsBf16(int to, int a, int b) {
  Tile& sum = tiles[to];
  const Tile &left = tiles[a], &right = tiles[b];
  const bool fit = meet(sum, left, right);
  const auto element = [](const Tile& tile, int row, int index) {
    uint16_t value;
    std::memcpy(&value, &tile.at[row][2 * index], sizeof value);
    return value;
  };
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 16; ++n) {
      float part[2] = {};
      for (int k = 0; fit && 2 * k < left.rowBytes; ++k) {
        part[k % 2] =
            addProduct(part[k % 2], element(left, m, k), element(right, k / 2, 2 * n + k % 2));
      }
      float value;
      std::memcpy(&value, &sum.at[m][4 * n], sizeof value);
      value = fit ? flushed(flushed(value) + flushed(part[0] + part[1])) : std::nanf("");
      std::memcpy(&sum.at[m][4 * n], &value, sizeof value);
    }
  }
}

}  // namespace baton::emulation

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbssd
#undef _tile_dpbsud
#undef _tile_dpbf16ps
#define _tile_loadconfig baton::emulation::tileLoadConfig
#define _tile_release baton::emulation::tileRelease
#define _tile_zero baton::emulation::tileZero
#define _tile_loadd baton::emulation::tileLoad
#define _tile_stored baton::emulation::tileStore
#define _tile_dpbssd baton::emulation::tileDots<int8_t, int8_t>
#define _tile_dpbsud baton::emulation::tileDots<int8_t, uint8_t>
#define _tile_dpbf16ps baton::emulation::tileDotsBf16
