// SPDX-License-Identifier: Apache-2.0
// Panels (panels.h) for int8 arithmetic with AVX-512: what of them is unpacked, and tiles of a few
// rows with one or two panels, by vpdpbusd: four unsigned times four signed bytes into each 32-bit
// lane, exact. Q8_0 is read as s + 128 with offset -128 d; Q6_K, whose two sections of a group have
// scales of their own, as it is, against activations + 128. The float sum runs over groups in
// ascending k. All local: included by instruction-set files only.
#pragma once

#include "kernels/linear/linear.h"
#include "kernels/linear/store_avx512.h"
#include "kernels/linear/unpack_avx2.h"
#include "kernels/unroll.h"

namespace baton {
namespace {

// Four k of 16 columns: step `step` of a group as its panel has it, or as bytes.
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

template <DType type>
constexpr bool hasSections() {
  return type == DType::kQ6_K;
}

// A panel and what of it is unpacked: quants [K / 4][16][4], scales and offsets [K / 32][16], and
// of types with sections their scales [K / 16][16], in the upper half of each number.
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

  // Scales of the block that begins with group g.
  template <DType type>
  void unpackBlockScales(int g) const {
    const int at = g * kPanelColumns;
    const std::byte* block =
        packed + static_cast<size_t>(g / blockGroups(type)) * panelBlockBytes(type);
    unpackScales<type>(block, d + at, c + at, sections + 2 * at);
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

  // Of section `s`, counted from the first group's.
  __m512i sectionScales(int s) const {
    return _mm512_srai_epi32(_mm512_load_si512(sections + s * kPanelColumns), 16);
  }

  const std::byte* packed;
  std::byte* bytes;
  float* d;
  float* c;
  int32_t* sections;
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
}

// The same times the scales of the two sections of group g. What x + 128 adds is 128 times the sum
// of a section's quants.
template <int rows, int halves, class Group>
inline void sectionDots(const int8_t* x, int K, const Group& group, const Panel* panels, int g,
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
      const __m512i scale = panels[h].sectionScales(2 * g + s);
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        const __m512i scaled = _mm512_mullo_epi32(_mm512_sub_epi32(part[i][h], added[h]), scale);
        dot[i][h] = s == 0 ? scaled : _mm512_add_epi32(dot[i][h], scaled);
      }
    }
  }
}

// Group g of `halves` panels, group(h) being that of one, into the sums.
template <DType type, int rows, int halves, class Group>
inline void addGroup(const LinearArgs& a, int r, int g, const Panel* panels, const Group& group,
                     __m512 (*sum)[halves]) {
  const int groups = a.K / kGroup;
  const int8_t* x = a.xq + static_cast<size_t>(r) * static_cast<size_t>(a.K) + g * kGroup;
  const float* xd = a.xd + static_cast<size_t>(r) * static_cast<size_t>(groups) + g;
  const float* xs = a.xs + static_cast<size_t>(r) * static_cast<size_t>(groups) + g;
  __m512i dot[rows][halves];
  if constexpr (hasSections<type>()) {
    sectionDots<rows, halves>(x, a.K, group, panels, g, dot);
  } else {
    groupDots<rows, halves>(x, a.K, group, dot);
  }
  BATON_UNROLL
  for (int h = 0; h < halves; ++h) {
    const __m512 d = _mm512_load_ps(panels[h].d + g * kPanelColumns);
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      const __m512 scale = _mm512_mul_ps(d, _mm512_set1_ps(xd[i * groups]));
      sum[i][h] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(dot[i][h]), sum[i][h]);
    }
    if constexpr (!hasSections<type>()) {
      const __m512 c = _mm512_load_ps(panels[h].c + g * kPanelColumns);
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        sum[i][h] = _mm512_fmadd_ps(c, _mm512_set1_ps(xs[i * groups]), sum[i][h]);
      }
    }
  }
}

inline void storeColumns512(const LinearArgs& a, int r, int n, int columns, __m512 value) {
  float* y = a.y + static_cast<size_t>(r) * static_cast<size_t>(a.ldy) + n;
  storeRow512(y, value, columns, a.accumulate);
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
      addGroup<type, rows, halves>(a, r, g, panels, group, sum);
    } else {
      const auto group = [&](int h) { return ByteGroup{panels[h].bytes + g * kGroupBytes}; };
      addGroup<type, rows, halves>(a, r, g, panels, group, sum);
    }
  }
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    BATON_UNROLL
    for (int h = 0; h < halves; ++h) {
      storeColumns512(a, r + i, n + h * kPanelColumns, columns - h * kPanelColumns, sum[i][h]);
    }
  }
}

template <DType type, int rows, int halves, bool packed>
void lastTile(const LinearArgs& a, int r, int n, int columns, const Panel* panels) {
  if (a.R - r == rows) return panelTile<type, rows, halves, packed>(a, r, n, columns, panels);
  if constexpr (rows > 1) lastTile<type, rows - 1, halves, packed>(a, r, n, columns, panels);
}

// Rows from `r` on.
template <DType type, int halves, bool packed>
void panelTiles(const LinearArgs& a, int r, int n, int columns, const Panel* panels) {
  constexpr int kRows = hasSections<type>() ? 4 : 6;  // what the 32 registers hold the sums of
  for (; r + kRows <= a.R; r += kRows) {
    panelTile<type, kRows, halves, packed>(a, r, n, columns, panels);
  }
  lastTile<type, kRows - 1, halves, packed>(a, r, n, columns, panels);
}

}  // namespace
}  // namespace baton
