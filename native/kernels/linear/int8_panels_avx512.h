// SPDX-License-Identifier: Apache-2.0
// Panels (panels.h) for int8 arithmetic with AVX-512: their quants and scales in registers,
// unpacked panels, and tiles of a few rows with one or two of those, by vpdpbusd: four unsigned
// times four signed bytes into each 32-bit lane, exact. Q8_0 is read as s + 128 with offset -128 d;
// Q6_K, whose two sections of a group have scales of their own, around zero, against activations +
// 128. The float sum runs over groups in ascending k. All local: included by instruction-set files
// only.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/linear/linear.h"
#include "kernels/linear/panels.h"
#include "kernels/linear/store_avx512.h"
#include "kernels/unroll.h"

namespace baton {
namespace {

template <DType type>
constexpr bool hasSections() {
  return type == DType::kQ6_K;
}

// The dot products of columns 8 to 15 come out sixteen times as large: their quants stay where they
// are in the bytes, the upper four bits, which saves a shift.
template <DType type>
constexpr bool hasUpperShifted() {
  return planesOf(type).low == 4 && planesOf(type).high == 0;
}

// Numbers for the columns 0 to 7 and 8 to 15 of a step, which are vectors 2 step and 2 step + 1.
inline __m512i byHalf32(int low, int high) {
  return _mm512_inserti64x4(_mm512_set1_epi32(low), _mm256_set1_epi32(high), 1);
}
inline __m512i byHalf16(short low, short high) {
  return _mm512_inserti64x4(_mm512_set1_epi16(low), _mm256_set1_epi16(high), 1);
}

// The 32 bytes that have vectors 2 step and 2 step + 1 of a plane, once for each.
template <int bits>
inline __m512i planeTwice(const std::byte* plane, int step) {
  const auto* at = reinterpret_cast<const __m256i*>(plane) + 2 * step / (8 / bits);
  return _mm512_broadcast_i64x4(_mm256_load_si256(at));
}

// Bits above the lowest four, moved to where they belong in `low`.
template <DType type>
inline __m512i withHighBits(__m512i low, const std::byte* plane, int step) {
  constexpr int kBits = planesOf(type).high, kEach = 8 / kBits;
  const int at = kBits * (2 * step % kEach);  // of the first of the two in their byte
  const __m512i places = byHalf32((4 - at) & 31, (4 - at - kBits) & 31);
  const __m512i moved = _mm512_rolv_epi32(planeTwice<kBits>(plane, step), places);
  const __m512i mask = _mm512_set1_epi8(static_cast<char>(((1 << kBits) - 1) << 4));
  return _mm512_ternarylogic_epi32(low, moved, mask, 0xf8);  // low | (moved & mask)
}

// Four k of 16 columns, unsigned: step `step` of a group as its panel has it, or as bytes.
template <DType type>
struct PackedGroup {
  static constexpr bool kUpperShifted = hasUpperShifted<type>();
  const std::byte* at;
  __m512i step(int step) const {
    if constexpr (type == DType::kQ8_0) {
      const __m512i both = _mm512_loadu_si512(at + 64 * step);
      return _mm512_xor_si512(both, _mm512_set1_epi8(static_cast<char>(0x80)));
    } else if constexpr (kUpperShifted) {
      return _mm512_and_si512(planeTwice<4>(at, step), byHalf16(0x0f0f, -0xf10));  // 0xf0f0
    } else {
      const __m512i moved = _mm512_srlv_epi16(planeTwice<4>(at, step), byHalf16(0, 4));
      const __m512i low = _mm512_and_si512(moved, _mm512_set1_epi8(0x0f));
      return withHighBits<type>(low, at + planeBytes(4), step);
    }
  }
};
struct ByteGroup {
  static constexpr bool kUpperShifted = false;
  const std::byte* at;
  __m512i step(int step) const { return _mm512_load_si512(at + 64 * step); }
};
constexpr int kGroupBytes = kPanelVectors * kPanelVectorBytes;  // of a ByteGroup

inline __m512 halvesToFloat512(const std::byte* at) {
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(at)));
}
inline __m128i sixteenBytes(const std::byte* at) {
  return _mm_load_si128(reinterpret_cast<const __m128i*>(at));
}
inline __m512 bytesToFloat512(const std::byte* at) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(sixteenBytes(at)));
}

// Scales of 16 columns of one group.
struct GroupScales {
  __m512 d, c;          // c: not of types with sections
  __m512i sections[2];  // of types with sections
};

// The scales of a block as its panel has them.
template <DType type>
struct BlockScales {
  explicit BlockScales(const std::byte* block) : at(block), d(halvesToFloat512(block)) {
    if constexpr (storesOffset(type)) second = halvesToFloat512(block + 2 * kPanelColumns);
    if constexpr (blockGroups(type) > 1 && !hasSections<type>()) {
      second = _mm512_sub_ps(_mm512_setzero_ps(), halvesToFloat512(block + 2 * kPanelColumns));
    }
  }

  // Of group g of the block.
  GroupScales group(int g) const {
    if constexpr (hasSections<type>()) {
      const std::byte* sections = at + 2 * kPanelColumns + 2 * g * kPanelColumns;
      return {d,
              d,
              {_mm512_cvtepi8_epi32(sixteenBytes(sections)),
               _mm512_cvtepi8_epi32(sixteenBytes(sections + kPanelColumns))}};
    } else if constexpr (blockGroups(type) > 1) {
      const std::byte* factors = at + 4 * kPanelColumns + 2 * g * kPanelColumns;
      return {_mm512_mul_ps(d, bytesToFloat512(factors)),
              _mm512_mul_ps(second, bytesToFloat512(factors + kPanelColumns)),
              {}};
    } else if constexpr (storesOffset(type)) {
      return {d, second, {}};
    } else {
      constexpr float kCentre = type == DType::kQ8_0 ? 128.0f : centre(type);
      return {d, _mm512_mul_ps(d, _mm512_set1_ps(-kCentre)), {}};
    }
  }

  const std::byte* at;
  __m512 d, second;
};

// A panel and what of it is unpacked: quants [K / 4][16][4], scales and offsets [K /
// 32][16], and of types with sections their scales [K / 16][16].
struct Panel {
  Panel() = default;
  // Of column n, in `memory`: unpackedBytes(K).
  Panel(const LinearArgs& a, int n, std::byte* memory)
      : packed(a.panels + static_cast<size_t>(n / kPanelColumns) * panelBytes(a.type, a.K)),
        bytes(memory),
        d(reinterpret_cast<float*>(bytes + static_cast<size_t>(a.K) * kPanelColumns)),
        c(d + a.K / kGroup * kPanelColumns),
        sections(reinterpret_cast<int32_t*>(c + a.K / kGroup * kPanelColumns)) {}
  static size_t unpackedBytes(int K) { return static_cast<size_t>(K) * kPanelColumns / 2 * 3; }

  // Of section `s`, counted from the first group's.
  __m512i sectionScales(int s) const { return _mm512_load_si512(sections + s * kPanelColumns); }

  template <DType type>
  GroupScales scales(int g) const {
    const __m512 offset = _mm512_load_ps((hasSections<type>() ? d : c) + g * kPanelColumns);
    GroupScales of{_mm512_load_ps(d + g * kPanelColumns), offset, {}};
    if constexpr (hasSections<type>()) {
      of.sections[0] = sectionScales(2 * g);
      of.sections[1] = sectionScales(2 * g + 1);
    }
    return of;
  }

  const std::byte* packed;
  std::byte* bytes;
  float* d;
  float* c;
  int32_t* sections;
};

template <DType type>
void unpackGroup(const Panel& panel, int g, const PackedGroup<type>& group,
                 const GroupScales& scales) {
  std::byte* bytes = panel.bytes + static_cast<size_t>(g) * kGroupBytes;
  const __m512i down = byHalf16(0, 4);
  BATON_UNROLL
  for (int step = 0; step < 8; ++step, bytes += 64) {
    __m512i quants = group.step(step);
    if constexpr (hasUpperShifted<type>()) quants = _mm512_srlv_epi16(quants, down);
    if constexpr (hasSections<type>()) quants = _mm512_sub_epi8(quants, _mm512_set1_epi8(32));
    _mm512_store_si512(bytes, quants);
  }
  _mm512_store_ps(panel.d + g * kPanelColumns, scales.d);
  if constexpr (hasSections<type>()) {
    _mm512_store_si512(panel.sections + 2 * g * kPanelColumns, scales.sections[0]);
    _mm512_store_si512(panel.sections + (2 * g + 1) * kPanelColumns, scales.sections[1]);
  } else {
    _mm512_store_ps(panel.c + g * kPanelColumns, scales.c);
  }
}

template <DType type>
void unpackPanel(int K, const Panel& panel) {
  constexpr int kGroups = blockGroups(type);
  const std::byte* at = panel.packed;
  for (int first = 0; first < K / kGroup; first += kGroups) {
    const BlockScales<type> scales(at);
    at += panelScaleBytes(type);
    for (int g = 0; g < kGroups; ++g, at += panelGroupBytes(type)) {
      unpackGroup<type>(panel, first + g, {at}, scales.group(g));
    }
  }
}

inline __m512i broadcastQuad(const int8_t* x, uint32_t toggled) {
  uint32_t quad;
  std::memcpy(&quad, x, 4);
  return _mm512_set1_epi32(static_cast<int>(quad ^ toggled));
}

// dot[i][h]: exact dot products of row i of x [rows][K] with a group of panel h.
template <int rows, int halves, class Group>
inline void groupDots(const int8_t* x, int K, const Group& group, __m512i (*dot)[halves]) {
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) dot[i][h] = _mm512_setzero_si512();
  }
  BATON_UNROLL
  for (int step = 0; step < 8; ++step) {
    __m512i w[halves];
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) w[h] = group(h).step(step);
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      const __m512i xk = broadcastQuad(x + i * K + 4 * step, 0);
      BATON_UNROLL
      for (int h = 0; h < halves; ++h) dot[i][h] = _mm512_dpbusd_epi32(dot[i][h], w[h], xk);
    }
  }
  if constexpr (decltype(group(0))::kUpperShifted) {
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      BATON_UNROLL
      for (int h = 0; h < halves; ++h) dot[i][h] = _mm512_srav_epi32(dot[i][h], byHalf32(0, 4));
    }
  }
}

// The same times the scales of the two sections of group g. What x + 128 adds is 128 times the sum
// of a section's quants.
template <int rows, int halves, class Group>
inline void sectionDots(const int8_t* x, int K, const Group& group, const GroupScales* scales,
                        __m512i (*dot)[halves]) {
  const __m512i excess = _mm512_set1_epi8(static_cast<char>(0x80));
  for (int s = 0; s < 2; ++s) {
    __m512i part[rows][halves], added[halves];
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) {
      added[h] = _mm512_setzero_si512();
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) part[i][h] = _mm512_setzero_si512();
    }
    BATON_UNROLL
    for (int step = 0; step < 4; ++step) {
      __m512i w[halves];
      BATON_UNROLL
      for (int h = 0; h < halves; ++h) {
        w[h] = group(h).step(4 * s + step);
        added[h] = _mm512_dpbusd_epi32(added[h], excess, w[h]);
      }
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        const __m512i xk = broadcastQuad(x + i * K + 4 * (4 * s + step), 0x80808080);
        BATON_UNROLL
        for (int h = 0; h < halves; ++h) part[i][h] = _mm512_dpbusd_epi32(part[i][h], xk, w[h]);
      }
    }
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) {
      const __m512i scale = scales[h].sections[s];
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        const __m512i scaled = _mm512_mullo_epi32(_mm512_sub_epi32(part[i][h], added[h]), scale);
        dot[i][h] = s == 0 ? scaled : _mm512_add_epi32(dot[i][h], scaled);
      }
    }
  }
}

// Rows of x from `r` on, as a tile reads them at group g.
struct TileRows {
  TileRows(const LinearArgs& a, int r, int g) : K(a.K), groups(a.K / kGroup) {
    const auto row = static_cast<size_t>(r), first = row * static_cast<size_t>(groups);
    q = a.xq + row * static_cast<size_t>(K) + g * kGroup;
    d = a.xd + first + g;
    s = a.xs + first + g;
  }
  const int8_t* q;
  const float* d;
  const float* s;
  int K, groups;  // apart
};

// Dot products of a group into the sums.
template <DType type, int rows, int halves>
inline void addDots(const TileRows& x, const GroupScales* scales, __m512i (*dot)[halves],
                    __m512 (*sum)[halves]) {
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) {
      const __m512 scale = _mm512_mul_ps(scales[h].d, _mm512_set1_ps(x.d[i * x.groups]));
      sum[i][h] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(dot[i][h]), sum[i][h]);
      if constexpr (!hasSections<type>()) {
        sum[i][h] = _mm512_fmadd_ps(scales[h].c, _mm512_set1_ps(x.s[i * x.groups]), sum[i][h]);
      }
    }
  }
}

inline void storeColumns512(const LinearArgs& a, int r, int n, int columns, __m512 value) {
  float* y = a.y + static_cast<size_t>(r) * static_cast<size_t>(a.ldy) + n;
  storeRow512(y, value, columns, a.accumulate);
}

template <int rows, int halves>
inline void setZero(__m512 (*sum)[halves]) {
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) sum[i][h] = _mm512_setzero_ps();
  }
}

template <DType type, int rows, int halves>
void unpackedTile(const LinearArgs& a, int r, int n, int columns, const Panel* panels) {
  __m512 sum[rows][halves];
  setZero<rows, halves>(sum);
  for (int g = 0; g < a.K / kGroup; ++g) {
    const TileRows x(a, r, g);
    const auto group = [&](int h) { return ByteGroup{panels[h].bytes + g * kGroupBytes}; };
    GroupScales scales[halves];
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) scales[h] = panels[h].scales<type>(g);
    __m512i dot[rows][halves];
    if constexpr (hasSections<type>()) {
      sectionDots<rows, halves>(x.q, x.K, group, scales, dot);
    } else {
      groupDots<rows, halves>(x.q, x.K, group, dot);
    }
    addDots<type, rows, halves>(x, scales, dot, sum);
  }
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) {
      storeColumns512(a, r + i, n + h * kPanelColumns, columns - h * kPanelColumns, sum[i][h]);
    }
  }
}

template <DType type, int rows, int halves>
void lastTile(const LinearArgs& a, int r, int n, int columns, const Panel* panels) {
  if (a.R - r == rows) return unpackedTile<type, rows, halves>(a, r, n, columns, panels);
  if constexpr (rows > 1) lastTile<type, rows - 1, halves>(a, r, n, columns, panels);
}

// Rows from `r` on with unpacked panels.
template <DType type, int halves>
void unpackedTiles(const LinearArgs& a, int r, int n, int columns, const Panel* panels) {
  constexpr int kRows = hasSections<type>() ? 4 : 6;  // what the 32 registers hold the sums of
  for (; r + kRows <= a.R; r += kRows) {
    unpackedTile<type, kRows, halves>(a, r, n, columns, panels);
  }
  lastTile<type, kRows - 1, halves>(a, r, n, columns, panels);
}

}  // namespace
}  // namespace baton
