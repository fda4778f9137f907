// SPDX-License-Identifier: Apache-2.0
// int8 arithmetic on panels of 32 columns with vpdpbusd: four unsigned quants times four signed
// activations into each 32-bit lane, exact. Q8_0 is read as s + 128 with offset -128 d. The float
// sum runs over groups in ascending k.
#include "kernels/linear/parts_avx512.h"
#include "kernels/linear/unpack_avx2.h"
#include "kernels/unroll.h"

namespace baton {
namespace {

// Four k of 16 columns, from 0: step `step` of a group as its panel has it, or as bytes.
template <DType type>
struct PackedGroup {
  const std::byte* at;
  __m512i step(int step) const {
    const __m256i low = loadVector<type>(at, 2 * step), high = loadVector<type>(at, 2 * step + 1);
    const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    if constexpr (type != DType::kQ8_0) return both;
    return _mm512_xor_si512(both, _mm512_set1_epi8(static_cast<char>(0x80)));
  }
};
struct ByteGroup {
  const std::byte* at;
  __m512i step(int step) const { return _mm512_load_si512(at + 64 * step); }
};
constexpr int kGroupBytes = kPanelVectors * kPanelVectorBytes;  // of a ByteGroup

// A panel (panels.h) and what of it is unpacked: quants [K / 4][16][4], scales and offsets
// [K / 32][16].
struct Panel {
  const std::byte* packed;
  std::byte* bytes;
  float* d;
  float* c;

  // Scales of the block that begins with group g.
  template <DType type>
  void unpackBlockScales(int g) const {
    const int at = g * kPanelColumns;
    const std::byte* block =
        packed + static_cast<size_t>(g / blockGroups(type)) * panelBlockBytes(type);
    unpackScales<type>(block, d + at, c + at, nullptr);
    if constexpr (type == DType::kQ8_0) {
      _mm512_store_ps(c + at, _mm512_mul_ps(_mm512_load_ps(d + at), _mm512_set1_ps(-128.0f)));
    }
  }

  template <DType type>
  PackedGroup<type> packedGroup(int g) const {
    constexpr int kGroups = blockGroups(type);
    return {packed + static_cast<size_t>(g / kGroups) * panelBlockBytes(type) +
            panelScaleBytes(type) + static_cast<size_t>(g % kGroups) * panelGroupBytes(type)};
  }
};

template <DType type>
void unpackPanel(int K, const Panel& panel) {
  std::byte* bytes = panel.bytes;
  for (int g = 0; g < K / kGroup; ++g) {
    if (g % blockGroups(type) == 0) panel.unpackBlockScales<type>(g);
    const PackedGroup<type> group = panel.packedGroup<type>(g);
    BATON_UNROLL
    for (int step = 0; step < 8; ++step, bytes += 64) _mm512_store_si512(bytes, group.step(step));
  }
}

inline __m512i broadcastQuad(const int8_t* x) {
  int32_t quad;
  std::memcpy(&quad, x, 4);
  return _mm512_set1_epi32(quad);
}

// Group g of `halves` panels, group(h) being that of one, into the sums.
template <int rows, int halves, class Group>
inline void addGroup(const LinearArgs& a, int r, int g, const Panel* panels, const Group& group,
                     __m512 (*sum)[halves]) {
  const int groups = a.K / kGroup;
  const int8_t* x = a.xq + static_cast<size_t>(r) * static_cast<size_t>(a.K) + g * kGroup;
  const float* xd = a.xd + static_cast<size_t>(r) * static_cast<size_t>(groups) + g;
  const float* xs = a.xs + static_cast<size_t>(r) * static_cast<size_t>(groups) + g;
  __m512i dot[rows][halves];
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
      const __m512i xk = broadcastQuad(x + i * a.K + 4 * step);
      BATON_UNROLL
      for (int h = 0; h < halves; ++h) dot[i][h] = _mm512_dpbusd_epi32(dot[i][h], w[h], xk);
    }
  }
  BATON_UNROLL
  for (int h = 0; h < halves; ++h) {
    const __m512 d = _mm512_load_ps(panels[h].d + g * kPanelColumns);
    const __m512 c = _mm512_load_ps(panels[h].c + g * kPanelColumns);
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      const __m512 scale = _mm512_mul_ps(d, _mm512_set1_ps(xd[i * groups]));
      sum[i][h] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(dot[i][h]), sum[i][h]);
      sum[i][h] = _mm512_fmadd_ps(c, _mm512_set1_ps(xs[i * groups]), sum[i][h]);
    }
  }
}

constexpr size_t kAhead = 2048;  // bytes between the group in work and the one asked from memory

template <DType type>
inline void prefetchGroup(const PackedGroup<type>& group) {
  for (size_t line = 0; line < panelGroupBytes(type) + 32; line += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(group.at) + kAhead + line, _MM_HINT_T0);
  }
}

// `packed`: reads the panels as they are, and the first tile unpacks the scales.
template <DType type, int rows, int halves, bool packed>
void panelTile(const LinearArgs& a, int r, int n, int columns, const Panel* panels) {
  __m512 sum[rows][halves];
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) sum[i][h] = _mm512_setzero_ps();
  }
  for (int g = 0; g < a.K / kGroup; ++g) {
    if constexpr (packed) {
      BATON_UNROLL
      for (int h = 0; h < halves && r == 0; ++h) {
        if (g % blockGroups(type) == 0) panels[h].unpackBlockScales<type>(g);
        prefetchGroup<type>(panels[h].packedGroup<type>(g));
      }
      const auto group = [&](int h) { return panels[h].packedGroup<type>(g); };
      addGroup<rows, halves>(a, r, g, panels, group, sum);
    } else {
      const auto group = [&](int h) { return ByteGroup{panels[h].bytes + g * kGroupBytes}; };
      addGroup<rows, halves>(a, r, g, panels, group, sum);
    }
  }
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) {
      const int left = columns - h * kPanelColumns;
      const int stored = left < kPanelColumns ? left : kPanelColumns;
      const __mmask16 mask = static_cast<__mmask16>((1u << stored) - 1);
      float* y =
          a.y + static_cast<size_t>(r + i) * static_cast<size_t>(a.ldy) + n + h * kPanelColumns;
      __m512 value = sum[i][h];
      if (a.accumulate) value = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, y), value);
      _mm512_mask_storeu_ps(y, mask, value);
    }
  }
}

template <DType type, int halves, bool packed>
void panelTiles(const LinearArgs& a, int n, int columns, const Panel* panels) {
  int r = 0;
  for (; r + 6 <= a.R; r += 6) panelTile<type, 6, halves, packed>(a, r, n, columns, panels);
  switch (a.R - r) {
    case 5:
      return panelTile<type, 5, halves, packed>(a, r, n, columns, panels);
    case 4:
      return panelTile<type, 4, halves, packed>(a, r, n, columns, panels);
    case 3:
      return panelTile<type, 3, halves, packed>(a, r, n, columns, panels);
    case 2:
      return panelTile<type, 2, halves, packed>(a, r, n, columns, panels);
    case 1:
      return panelTile<type, 1, halves, packed>(a, r, n, columns, panels);
    default:
      return;
  }
}

// From so many rows on a panel is unpacked once for all tiles; taken from AVX2, not measured here.
constexpr int kManyRows = 24;

template <DType type, int halves>
void panelColumns(const LinearArgs& a, int n, int columns, void* scratch) {
  const size_t scales = static_cast<size_t>(a.K / kGroup * kPanelColumns);
  Panel panels[halves];
  auto* at = static_cast<std::byte*>(scratch);
  for (int h = 0; h < halves; ++h) {
    auto* const d = reinterpret_cast<float*>(at + static_cast<size_t>(a.K) * kPanelColumns);
    const auto index = static_cast<size_t>(n / kPanelColumns + h);
    panels[h] = {a.panels + index * panelBytes(type, a.K), at, d, d + scales};
    at = reinterpret_cast<std::byte*>(d + 2 * scales);
  }
  if (a.R < kManyRows) return panelTiles<type, halves, true>(a, n, columns, panels);
  for (int h = 0; h < halves; ++h) unpackPanel<type>(a.K, panels[h]);
  panelTiles<type, halves, false>(a, n, columns, panels);
}

template <DType type>
void allColumns(const LinearArgs& a, int n0, int n1, void* scratch) {
  for (int n = n0; n < n1; n += 2 * kPanelColumns) {
    const int columns = n1 - n;
    if (columns > kPanelColumns) {
      panelColumns<type, 2>(a, n, columns < 32 ? columns : 32, scratch);
    } else {
      panelColumns<type, 1>(a, n, columns, scratch);
    }
  }
}

}  // namespace

void linearInt8PanelsAvx512(const LinearArgs& a, int n0, int n1, void* scratch) {
  withType(a.type, [&](auto type) {
    constexpr DType kType = decltype(type)::value;
    // linear_avx512.cpp gives Q6_K, whose sections have scales of their own, to AVX2.
    if constexpr (isInteger(kType) && kType != DType::kQ6_K) allColumns<kType>(a, n0, n1, scratch);
  });
}

}  // namespace baton
