// SPDX-License-Identifier: Apache-2.0
// int8 arithmetic with the tiles of AMX (Intel SDM, volume 1, "Programming with Intel AMX"):
// sixteen rows of x with the sixteen columns of a panel, a group of 32 k at a time, or a section of
// 16 where sections have scales of their own. A tile of x is read from x itself, one of W is a
// group of the unpacked panel. The products are the integers of linear_int8_avx512.cpp and their
// float sums run in its order, so that the rows left over, which its tiles take, have the bits of
// the others.
#include "kernels/linear/int8_panels_avx512.h"
#include "kernels/linear/parts_avx512.h"
#include "kernels/linear/tiles_amx.h"
#include "kernels/unroll.h"

namespace baton {
namespace {

// Tile registers, of the second section the next. Numbers are parts of instructions, hence macros.
#define BATON_DOTS 0
#define BATON_DOTS_2 1
#define BATON_X 2
#define BATON_X_2 3
#define BATON_W 4
#define BATON_W_2 5

template <DType type>
constexpr int sectionsOfGroup() {
  return hasSections<type>() ? 2 : 1;
}

template <DType type>
void shapeTiles() {
  constexpr int kDepth = kGroup / sectionsOfGroup<type>();  // k of a product of tiles
  TileShapes shapes;
  for (int section = 0; section < sectionsOfGroup<type>(); ++section) {
    shapes.set(BATON_DOTS + section, kTileRows, 4 * kPanelColumns);
    shapes.set(BATON_X + section, kTileRows, kDepth);
    shapes.set(BATON_W + section, kDepth / 4, 4 * kPanelColumns);
  }
  writeMemory();
  _tile_loadconfig(&shapes);
}

using Dots = int32_t[kTileRows][kPanelColumns];

// Dot products of sixteen rows of x [16][K] with a group, by section.
template <DType type>
inline void groupDots16(const int8_t* x, int K, const std::byte* group, Dots* dots) {
  writeMemory();
  _tile_zero(BATON_DOTS);
  _tile_loadd(BATON_X, x, K);
  _tile_loadd(BATON_W, group, 64);
  if constexpr (hasSections<type>()) {
    _tile_zero(BATON_DOTS_2);
    _tile_loadd(BATON_X_2, x + kGroup / 2, K);
    _tile_loadd(BATON_W_2, group + kGroupBytes / 2, 64);
    _tile_dpbssd(BATON_DOTS, BATON_X, BATON_W);
    _tile_dpbssd(BATON_DOTS_2, BATON_X_2, BATON_W_2);
    _tile_stored(BATON_DOTS_2, dots[1], 64);
  } else {
    _tile_dpbsud(BATON_DOTS, BATON_X, BATON_W);  // unsigned: Q8_0 is s + 128 here, too
  }
  _tile_stored(BATON_DOTS, dots[0], 64);
  writeMemory();
}

template <DType type>
inline __m512i rowDots(const Dots* dots, int i, const __m512i* scales) {
  const __m512i first = _mm512_load_si512(dots[0][i]);
  if constexpr (!hasSections<type>()) return first;
  return _mm512_add_epi32(_mm512_mullo_epi32(first, scales[0]),
                          _mm512_mullo_epi32(_mm512_load_si512(dots[1][i]), scales[1]));
}

template <DType type>
void tile(const LinearArgs& a, int r, int n, int columns, const Panel& panel) {
  const int groups = a.K / kGroup;
  const int8_t* x = a.xq + static_cast<size_t>(r) * static_cast<size_t>(a.K);
  const float* xd = a.xd + static_cast<size_t>(r) * static_cast<size_t>(groups);
  const float* xs = a.xs + static_cast<size_t>(r) * static_cast<size_t>(groups);
  __m512 sum[kTileRows];
  for (__m512& one : sum) one = _mm512_setzero_ps();
  // Two, so that the tiles of a group need not wait until the sums have read those before.
  alignas(64) Dots dots[2][sectionsOfGroup<type>()];
  for (int g = 0; g < groups; ++g) {
    groupDots16<type>(x + g * kGroup, a.K, panel.bytes + g * kGroupBytes, dots[g % 2]);
    const __m512 d = _mm512_load_ps(panel.d + g * kPanelColumns);
    __m512i scales[2];
    if constexpr (hasSections<type>()) {
      scales[0] = panel.sectionScales(2 * g);
      scales[1] = panel.sectionScales(2 * g + 1);
    }
    BATON_UNROLL
    for (int i = 0; i < kTileRows; ++i) {
      const __m512 scale = _mm512_mul_ps(d, _mm512_set1_ps(xd[i * groups + g]));
      const __m512i dot = rowDots<type>(dots[g % 2], i, scales);
      sum[i] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(dot), sum[i]);
    }
    if constexpr (!hasSections<type>()) {
      const __m512 c = _mm512_load_ps(panel.c + g * kPanelColumns);
      BATON_UNROLL
      for (int i = 0; i < kTileRows; ++i) {
        sum[i] = _mm512_fmadd_ps(c, _mm512_set1_ps(xs[i * groups + g]), sum[i]);
      }
    }
  }
  for (int i = 0; i < kTileRows; ++i) storeColumns512(a, r + i, n, columns, sum[i]);
}

template <DType type>
void multiply(const LinearArgs& a, int n0, int n1, void* scratch) {
  shapeTiles<type>();
  for (int n = n0; n < n1; n += kPanelColumns) {
    const Panel panel(a, n, static_cast<std::byte*>(scratch));
    unpackPanel<type>(a.K, panel);
    int r = 0;
    for (; r + kTileRows <= a.R; r += kTileRows) tile<type>(a, r, n, n1 - n, panel);
    unpackedTiles<type, 1>(a, r, n, n1 - n, &panel);
  }
  _tile_release();
}

}  // namespace

void linearInt8PanelsAmx(const LinearArgs& a, int n0, int n1, void* scratch) {
  withType(a.type, [&](auto type) {
    constexpr DType kType = decltype(type)::value;
    if constexpr (isInteger(kType)) multiply<kType>(a, n0, n1, scratch);  // others: linear.h
  });
}

}  // namespace baton
