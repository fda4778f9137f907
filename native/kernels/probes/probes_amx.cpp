// SPDX-License-Identifier: Apache-2.0
// int8: tdpbssd, sixteen rows times sixteen columns over 64 k an instruction. bf16: tdpbf16ps, over
// 32 k. The rest of this table is that of AVX-512.
#include <immintrin.h>

#include "kernels/linear/tiles_amx.h"
#include "kernels/probes/probes.h"

namespace baton {
namespace {

constexpr int kProducts = 4;  // of a round, each into a tile of its own

struct Bytes {
  using Sum = int32_t;
  static void multiply() {
    _tile_dpbssd(0, 4, 5);
    _tile_dpbssd(1, 4, 5);
    _tile_dpbssd(2, 4, 5);
    _tile_dpbssd(3, 4, 5);
  }
};

struct Bfloats {
  using Sum = float;
  static void multiply() {
    _tile_dpbf16ps(0, 4, 5);
    _tile_dpbf16ps(1, 4, 5);
    _tile_dpbf16ps(2, 4, 5);
    _tile_dpbf16ps(3, 4, 5);
  }
};

template <class Of>
typename Of::Sum tileDots(int64_t rounds) {
  const TileShapes shapes = TileShapes::whole();
  alignas(64) typename Of::Sum dots[16][16] = {};
  asm volatile("" : : "r"(&shapes), "r"(dots) : "memory");  // both are read by tile instructions
  _tile_loadconfig(&shapes);
  _tile_loadd(4, dots, 64);
  _tile_loadd(5, dots, 64);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t round = 0; round < rounds; ++round) Of::multiply();
  _tile_stored(0, dots, 64);
  _tile_release();
  writeMemory();
  return dots[0][0];
}

}  // namespace

const Probes kAmxProbes = {Isa::kAmx,        "AVX-512 FMA",
                           kAvx512FmaFlops,  probeFmaAvx512,
                           "AMX tdpbssd",    2.0 * 16 * 16 * 64 * kProducts,
                           tileDots<Bytes>,  probeReadAvx512,
                           "AMX tdpbf16ps",  2.0 * 16 * 16 * 32 * kProducts,
                           tileDots<Bfloats>};

}  // namespace baton
