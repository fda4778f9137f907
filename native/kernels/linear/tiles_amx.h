// SPDX-License-Identifier: Apache-2.0
// Tile registers of AMX (Intel SDM, volume 1, "Programming with Intel AMX"). All local: included by
// instruction-set files only.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace baton {
namespace {

constexpr int kTileRows = 16;

// What ldtilecfg reads.
struct alignas(64) TileShapes {
  uint8_t palette = 1, startRow = 0, reserved[14] = {};
  uint16_t rowBytes[16] = {};
  uint8_t rows[16] = {};

  void set(int tile, int tileRows, int bytes) {
    rows[tile] = static_cast<uint8_t>(tileRows);
    rowBytes[tile] = static_cast<uint16_t>(bytes);
  }

  // All eight of sixteen rows of 64 bytes.
  static TileShapes whole() {
    TileShapes shapes;
    for (int tile = 0; tile < 8; ++tile) shapes.set(tile, kTileRows, 64);
    return shapes;
  }
};

// The compiler does not know what tile instructions read (GCC 12 deletes the stores).
inline void writeMemory() {
  asm volatile("" : : : "memory");
}

}  // namespace
}  // namespace baton
