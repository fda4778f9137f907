// SPDX-License-Identifier: Apache-2.0
// int8 arithmetic on panels. Every dot product is an exact integer; the float sum runs over groups
// in ascending k.
//
// vpmaddubsw multiplies unsigned by signed bytes and adds pairs in 16 bits with saturation, so the
// pairs must fit, and as many sums of them as stepsOfSum says:
//   4-bit weights: 2 * 15 * 127 = 3810, and the eight steps of a group sum to 30480: one 16-bit sum
//   a group.
//   5-bit weights: 2 * 31 * 127 = 7874, four steps 31496: two sums a group.
//   Q6_K: |w| <= 32 is the unsigned side and x takes w's sign, 2 * 32 * 127 = 8128, four steps
//   32512: a sum for each section, which then meets the section's scale.
//   Q8_0: likewise with |w| <= 128, 32512 in one step: widened to 32 bits at each.
// The last two are signed dot products, for which the offset c is 0.
#include <type_traits>

#include "kernels/linear/parts_avx2.h"
#include "kernels/linear/unpack_avx2.h"
#include "kernels/linear/weights_avx2.h"
#include "kernels/unroll.h"

namespace baton {
namespace {

// Steps of four k whose products fit one 16-bit sum.
template <DType type>
constexpr int stepsOfSum() {
  switch (type) {
    case DType::kQ8_0:
      return 1;
    case DType::kQ4_0:
    case DType::kQ4_1:
    case DType::kQ4_K:
      return 8;
    default:
      return 4;
  }
}

// The 16 vectors of a group, as its panel has them or as bytes.
template <DType type>
struct PackedGroup {
  const std::byte* at;
  __m256i vector(int v) const { return loadVector<type>(at, v); }
};
struct ByteGroup {
  const std::byte* at;
  __m256i vector(int v) const {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(at) + v);
  }
};
constexpr int kGroupBytes = kPanelVectors * kPanelVectorBytes;  // of a ByteGroup

// Of a panel, by group: scales and offsets [K / 32][16], and of Q6_K the scales of sections
// [K / 16][16] as pairs of int16.
struct Scales {
  Scales(void* memory, int K)
      : d(static_cast<float*>(memory)),
        c(d + K / kGroup * kPanelColumns),
        sections(reinterpret_cast<int32_t*>(c + K / kGroup * kPanelColumns)) {}

  // Of the block that begins with group g.
  template <DType type>
  void unpack(const std::byte* block, int g) const {
    const int at = g * kPanelColumns;
    unpackScales<type>(block, d + at, c + at, sections + 2 * at);
  }

  float* d;
  float* c;
  int32_t* sections;
};

template <int rows>
struct Rows {  // of x, with their scales and sums by group
  Rows(const LinearArgs& a, int r) {
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      const auto row = static_cast<size_t>(r + i);
      q[i] = a.xq + row * static_cast<size_t>(a.K);
      d[i] = a.xd + row * static_cast<size_t>(a.K / kGroup);
      s[i] = a.xs + row * static_cast<size_t>(a.K / kGroup);
    }
  }
  const int8_t* q[rows];
  const float* d[rows];
  const float* s[rows];
};

// The sums of rows of x with 16 columns live in memory, the registers are for the dot products.
// Apart from Rows, whose pointers would have to live there, too.
template <int rows>
struct Sums {
  Sums() {
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      _mm256_store_ps(of[i], _mm256_setzero_ps());
      _mm256_store_ps(of[i] + 8, _mm256_setzero_ps());
    }
  }
  void store(const LinearArgs& a, int r, int n, int columns) const {
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      float* y = a.y + static_cast<size_t>(r + i) * static_cast<size_t>(a.ldy) + n;
      storeColumns(y, _mm256_load_ps(of[i]), _mm256_load_ps(of[i] + 8), columns, a.accumulate);
    }
  }
  alignas(32) float of[rows][kPanelColumns];
};

inline __m256i broadcastQuad(const int8_t* x) {
  int32_t quad;
  std::memcpy(&quad, x, 4);
  return _mm256_set1_epi32(quad);
}

// Keeps one running sum in its register. GCC would turn the eight sums of a group into a tree and
// spill every product.
inline void inOrder(__m256i& sum) {
  asm("" : "+x"(sum));
}

// Products of four k of one row with eight columns, in 16-bit pairs. `size`: magnitudes of signed
// quants.
template <DType type>
inline __m256i products(__m256i quants, __m256i size, __m256i xk) {
  return isSigned(type) ? _mm256_maddubs_epi16(size, _mm256_sign_epi8(xk, quants))
                        : _mm256_maddubs_epi16(quants, xk);
}

// dot[i][h]: exact dot products of rows x[i] + k with columns 8 h .. 8 h + 7 of a group.
// `sections`: of Q6_K.
template <DType type, int rows, class Group>
inline void groupDots(const Group& group, const int32_t* sections, const int8_t* const* x, int k,
                      __m256i (*dot)[2]) {
  constexpr int kSteps = stepsOfSum<type>();
  __m256i factors[2] = {_mm256_set1_epi16(1), _mm256_set1_epi16(1)};
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) dot[i][0] = dot[i][1] = _mm256_setzero_si256();
  BATON_UNROLL
  for (int first = 0; first < 8; first += kSteps) {
    __m256i sum[rows][2];  // of 16-bit pairs
    BATON_UNROLL
    for (int step = first; step < first + kSteps; ++step) {
      const __m256i w0 = group.vector(2 * step), w1 = group.vector(2 * step + 1);
      const __m256i size0 = _mm256_abs_epi8(w0), size1 = _mm256_abs_epi8(w1);
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        const __m256i xk = broadcastQuad(x[i] + k + 4 * step);
        const __m256i p0 = products<type>(w0, size0, xk), p1 = products<type>(w1, size1, xk);
        if constexpr (kSteps == 1) {
          dot[i][0] = _mm256_add_epi32(dot[i][0], _mm256_madd_epi16(p0, factors[0]));
          dot[i][1] = _mm256_add_epi32(dot[i][1], _mm256_madd_epi16(p1, factors[1]));
          inOrder(dot[i][0]);
          inOrder(dot[i][1]);
        } else {
          sum[i][0] = step == first ? p0 : _mm256_add_epi16(sum[i][0], p0);
          sum[i][1] = step == first ? p1 : _mm256_add_epi16(sum[i][1], p1);
          inOrder(sum[i][0]);
          inOrder(sum[i][1]);
        }
      }
    }
    if constexpr (kSteps > 1) {
      if constexpr (type == DType::kQ6_K) {
        const auto* scales = reinterpret_cast<const __m256i*>(sections + first / 4 * kPanelColumns);
        factors[0] = _mm256_load_si256(scales);
        factors[1] = _mm256_load_si256(scales + 1);
      }
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        dot[i][0] = _mm256_add_epi32(dot[i][0], _mm256_madd_epi16(sum[i][0], factors[0]));
        dot[i][1] = _mm256_add_epi32(dot[i][1], _mm256_madd_epi16(sum[i][1], factors[1]));
      }
    }
  }
}

// The products of group g into the sums.
template <DType type, int rows, class Group>
inline void addGroup(const Group& group, const Scales& scales, int g, const Rows<rows>& x,
                     Sums<rows>& sums) {
  asm volatile("" : : "r"(&sums.of[0][0]) : "memory");
  __m256i dot[rows][2];
  groupDots<type, rows>(group, scales.sections + 2 * g * kPanelColumns, x.q, g * kGroup, dot);
  BATON_UNROLL
  for (int h = 0; h < 2; ++h) {
    const int column = g * kPanelColumns + 8 * h;
    const __m256 d = _mm256_load_ps(scales.d + column);
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      const __m256 scale = _mm256_mul_ps(d, _mm256_broadcast_ss(x.d[i] + g));
      __m256 total = _mm256_load_ps(sums.of[i] + 8 * h);
      total = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(dot[i][h]), total);
      if constexpr (!isSigned(type)) {
        const __m256 c = _mm256_load_ps(scales.c + column);
        total = _mm256_fmadd_ps(c, _mm256_broadcast_ss(x.s[i] + g), total);
      }
      _mm256_store_ps(sums.of[i] + 8 * h, total);
    }
  }
}

constexpr size_t kAhead = 2048;  // bytes between the group in work and the one asked from memory

// Panels lie end to end, so that a group ahead may be one of the next.
template <DType type>
inline void prefetchGroup(const std::byte* group) {
  for (size_t line = 0; line < panelGroupBytes(type) + 32; line += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(group) + line, _MM_HINT_T0);
  }
}

// Reads the panel itself. Its scales are there already, or are unpacked in passing.
template <DType type, int rows>
void packedTile(const LinearArgs& a, int r, int n, int columns, const std::byte* panel,
                const Scales& scales) {
  constexpr int kGroups = blockGroups(type);
  const Rows<rows> x(a, r);
  Sums<rows> sums;
  for (int g0 = 0; g0 < a.K / kGroup; g0 += kGroups) {
    if (r == 0) scales.unpack<type>(panel, g0);
    panel += panelScaleBytes(type);
    for (int g = g0; g < g0 + kGroups; ++g, panel += panelGroupBytes(type)) {
      if (r == 0) prefetchGroup<type>(panel + kAhead);
      addGroup<type>(PackedGroup<type>{panel}, scales, g, x, sums);
    }
  }
  sums.store(a, r, n, columns);
}

template <DType type>
void unpackPanel(const std::byte* panel, int K, std::byte* bytes, const Scales& scales) {
  constexpr int kGroups = blockGroups(type);
  for (int g0 = 0; g0 < K / kGroup; g0 += kGroups) {
    scales.unpack<type>(panel, g0);
    panel += panelScaleBytes(type);
    for (int g = 0; g < kGroups; ++g, panel += panelGroupBytes(type), bytes += kGroupBytes) {
      prefetchGroup<type>(panel + kAhead);
      BATON_UNROLL
      for (int v = 0; v < kPanelVectors; ++v) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(bytes) + v, loadVector<type>(panel, v));
      }
    }
  }
}

template <DType type, int rows>
void byteTile(const LinearArgs& a, int r, int n, int columns, const std::byte* bytes,
              const Scales& scales) {
  const Rows<rows> x(a, r);
  Sums<rows> sums;
  for (int g = 0; g < a.K / kGroup; ++g, bytes += kGroupBytes) {
    addGroup<type>(ByteGroup{bytes}, scales, g, x, sums);
  }
  sums.store(a, r, n, columns);
}

// Measured on Zen 3: from so many rows on it pays to unpack a panel once for all tiles.
constexpr int kManyRows = 24;
constexpr int kTileRows = 4;

// fn(a constant, r) for tiles of so many rows from row r on.
template <class Fn>
inline void forTiles(int R, const Fn& fn) {
  int r = 0;
  for (; r + kTileRows <= R; r += kTileRows) fn(std::integral_constant<int, kTileRows>(), r);
  switch (R - r) {
    case 3:
      return fn(std::integral_constant<int, 3>(), r);
    case 2:
      return fn(std::integral_constant<int, 2>(), r);
    case 1:
      return fn(std::integral_constant<int, 1>(), r);
    default:
      return;
  }
}

template <DType type>
void multiply(const LinearArgs& a, int n0, int n1, void* scratch) {
  auto* const bytes = static_cast<std::byte*>(scratch);
  const Scales scales(bytes + static_cast<size_t>(a.K) * kPanelColumns, a.K);
  for (int n = n0; n < n1; n += kPanelColumns) {
    const int columns = n1 - n < kPanelColumns ? n1 - n : kPanelColumns;
    const auto index = static_cast<size_t>(n / kPanelColumns);
    const std::byte* const panel = a.panels + index * panelBytes(type, a.K);
    if (a.R < kManyRows || planesOf(type).low == 8) {  // the one plane of 8 is bytes as it is
      forTiles(a.R, [&](auto rows, int r) {
        packedTile<type, decltype(rows)::value>(a, r, n, columns, panel, scales);
      });
    } else {
      unpackPanel<type>(panel, a.K, bytes, scales);
      forTiles(a.R, [&](auto rows, int r) {
        byteTile<type, decltype(rows)::value>(a, r, n, columns, bytes, scales);
      });
    }
  }
}

}  // namespace

void linearInt8PanelsAvx2(const LinearArgs& a, int n0, int n1, void* scratch) {
  withType(a.type, [&](auto type) {
    constexpr DType kType = decltype(type)::value;
    if constexpr (isInteger(kType)) multiply<kType>(a, n0, n1, scratch);  // others: linear.h
  });
}

}  // namespace baton
