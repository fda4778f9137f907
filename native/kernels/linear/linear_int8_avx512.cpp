// SPDX-License-Identifier: Apache-2.0
// int8 arithmetic on panels of 16 columns (int8_panels_avx512.h). Few rows read one panel after the
// other as they were packed: a thread then reads one stream of memory from end to end, which the
// CPU fetches ahead of it. Two panels side by side take half as long in a cache and twice as long
// from memory. Many rows unpack two panels for all tiles.
//
// Quants of Q6_K are read as q + 32 here, and the sums of a section begin with what that adds, -32
// times the sum of the row's section: the integers are those of unpacked panels.
#include "kernels/linear/int8_panels_avx512.h"
#include "kernels/linear/parts_avx512.h"

namespace baton {
namespace {

// Measured on Zen 4: from so many rows on a panel is unpacked once for all tiles.
constexpr int kManyRows = 24;
constexpr int kTileRows = 8;
constexpr int kSection = kGroup / 2;  // of Q6_K
// From so many rows on the CPU does not fetch far enough ahead by itself; for fewer it is slowed by
// being asked (Q4_K, one row: 46 GB/s without, 30 with).
constexpr int kAskedRows = 4;
constexpr size_t kAhead = 4096;  // bytes between the group in work and the one asked from memory

// Panels lie end to end, so that what is ahead may be of the next.
template <DType type>
inline void prefetchGroup(const std::byte* group) {
  for (size_t line = 0; line < panelGroupBytes(type) + 32; line += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(group) + kAhead + line, _MM_HINT_T1);
  }
}

// `excess` [R][K / 16]: -32 times the sum of each section of x.
void sumSections(const LinearArgs& a, int32_t* excess) {
  const __m128i factor = _mm_set1_epi8(32);
  const size_t sections = static_cast<size_t>(a.R) * static_cast<size_t>(a.K / kSection);
  for (size_t s = 0; s < sections; ++s) {
    const auto* x = reinterpret_cast<const __m128i*>(a.xq + s * kSection);
    __m128i sum = _mm_dpbusd_epi32(_mm_setzero_si128(), factor, _mm_loadu_si128(x));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
    excess[s] = -_mm_cvtsi128_si32(sum);
  }
}

// dot[i]: as sectionDots has them. `excess`: of the first row at this group.
template <int rows>
inline void packedSectionDots(const TileRows& x, const PackedGroup<DType::kQ6_K>& group,
                              const GroupScales& scales, const int32_t* excess, __m512i (*dot)[1]) {
  BATON_UNROLL
  for (int s = 0; s < 2; ++s) {
    __m512i part[rows];
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) part[i] = _mm512_set1_epi32(excess[2 * i * x.groups + s]);
    BATON_UNROLL
    for (int step = 4 * s; step < 4 * (s + 1); ++step) {
      const __m512i w = group.step(step);
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        part[i] = _mm512_dpbusd_epi32(part[i], w, broadcastQuad(x.q + i * x.K + 4 * step, 0));
      }
    }
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      const __m512i scaled = _mm512_mullo_epi32(part[i], scales.sections[s]);
      dot[i][0] = s == 0 ? scaled : _mm512_add_epi32(dot[i][0], scaled);
    }
  }
}

// The first tile asks memory for what is ahead.
template <DType type, int rows>
void packedTile(const LinearArgs& a, int r, int n, int columns, const std::byte* panel,
                const int32_t* excess) {
  constexpr int kGroups = blockGroups(type);
  __m512 sum[rows][1];
  setZero<rows, 1>(sum);
  for (int first = 0; first < a.K / kGroup; first += kGroups) {
    const BlockScales<type> block(panel);
    panel += panelScaleBytes(type);
    for (int g = first; g < first + kGroups; ++g, panel += panelGroupBytes(type)) {
      if (rows >= kAskedRows && r == 0) prefetchGroup<type>(panel);
      const TileRows x(a, r, g);
      const PackedGroup<type> group{panel};
      const GroupScales scales = block.group(g - first);
      __m512i dot[rows][1];
      if constexpr (hasSections<type>()) {
        packedSectionDots<rows>(x, group, scales, excess + 2 * (r * x.groups + g), dot);
      } else {
        groupDots<rows, 1>(x.q, x.K, [&](int) { return group; }, dot);
      }
      addDots<type, rows, 1>(x, &scales, dot, sum);
    }
  }
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) storeColumns512(a, r + i, n, columns, sum[i][0]);
}

template <DType type, int rows>
void lastPackedTile(const LinearArgs& a, int r, int n, int columns, const std::byte* panel,
                    const int32_t* excess) {
  if (a.R - r == rows) return packedTile<type, rows>(a, r, n, columns, panel, excess);
  if constexpr (rows > 1) lastPackedTile<type, rows - 1>(a, r, n, columns, panel, excess);
}

template <DType type>
void fewRows(const LinearArgs& a, int n0, int n1, void* scratch) {
  auto* const excess = static_cast<int32_t*>(scratch);
  if constexpr (hasSections<type>()) sumSections(a, excess);
  const std::byte* panel =
      a.panels + static_cast<size_t>(n0 / kPanelColumns) * panelBytes(type, a.K);
  for (int n = n0; n < n1; n += kPanelColumns, panel += panelBytes(type, a.K)) {
    int r = 0;
    for (; r + kTileRows <= a.R; r += kTileRows) {
      packedTile<type, kTileRows>(a, r, n, n1 - n, panel, excess);
    }
    lastPackedTile<type, kTileRows - 1>(a, r, n, n1 - n, panel, excess);
  }
}

template <DType type, int halves>
void unpackedColumns(const LinearArgs& a, int n, int columns, void* scratch) {
  Panel panels[halves];
  auto* at = static_cast<std::byte*>(scratch);
  for (int h = 0; h < halves; ++h, at += Panel::unpackedBytes(a.K)) {
    panels[h] = Panel(a, n + h * kPanelColumns, at);
    unpackPanel<type>(a.K, panels[h]);
  }
  unpackedTiles<type, halves>(a, 0, n, columns, panels);
}

template <DType type>
void manyRows(const LinearArgs& a, int n0, int n1, void* scratch) {
  for (int n = n0; n < n1; n += 2 * kPanelColumns) {
    if (n1 - n > kPanelColumns) {
      unpackedColumns<type, 2>(a, n, n1 - n, scratch);
    } else {
      unpackedColumns<type, 1>(a, n, n1 - n, scratch);
    }
  }
}

}  // namespace

void linearInt8PanelsAvx512(const LinearArgs& a, int n0, int n1, void* scratch) {
  withType(a.type, [&](auto type) {
    constexpr DType kType = decltype(type)::value;
    if constexpr (isInteger(kType)) {  // others: linear.h
      if (a.R < kManyRows) return fewRows<kType>(a, n0, n1, scratch);
      manyRows<kType>(a, n0, n1, scratch);
    }
  });
}

}  // namespace baton
