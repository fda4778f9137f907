// SPDX-License-Identifier: Apache-2.0
// int8 arithmetic for few rows, of types with blocks of 32: W is read once, in the file's layout,
// several weight rows (streams) at a time. Lanes run along k inside a group, so a sum ends with one
// horizontal add; the 16-bit pairs fit as linear_int8_avx2.cpp states.
#include "kernels/linear/linear.h"
#include "kernels/linear/weights_avx2.h"
#include "kernels/unroll.h"

namespace baton {
namespace {

// Bytes between the block in work and the one asked from memory; a prefetch beyond the end does no
// harm.
constexpr int kAhead = 768;

template <class Dot, DType type>
inline __m256i groupDot(__m256i w, __m256i x) {
  if constexpr (isSigned(type)) {
    return Dot::unsignedBySigned(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
  } else {
    return Dot::unsignedBySigned(w, x);
  }
}

// (d, c / d's factor of xs) of one group: lane 0 meets xd, lane 1 meets xs.
template <DType type>
inline __m128 loadScales(const std::byte* at) {
  int32_t pair;
  if constexpr (storesOffset(type)) {
    std::memcpy(&pair, at, 4);
    return _mm_cvtph_ps(_mm_cvtsi32_si128(pair));
  } else {
    uint16_t half;
    std::memcpy(&half, at, 2);
    const __m128 d = _mm_cvtph_ps(_mm_cvtsi32_si128(half));
    return _mm_moveldup_ps(d);
  }
}

// Rows r .. r + rows of x with columns n, n + apart, n + 2 apart, ..., `streams` of them.
template <class Dot, DType type, int rows, int streams>
void tile(const LinearArgs& a, int r, int n, int apart) {
  const int groups = a.K / kGroup;
  const size_t stride = rowBytes(type, a.K);
  const size_t streamBytes = static_cast<size_t>(apart) * stride;
  const auto* w = static_cast<const std::byte*>(a.weight) + static_cast<size_t>(n) * stride;
  const size_t row = static_cast<size_t>(r);
  const int8_t* x = a.xq + row * static_cast<size_t>(a.K);
  const float* xd = a.xd + row * static_cast<size_t>(groups);
  const float* xs = a.xs + row * static_cast<size_t>(groups);
  constexpr bool kCentred = centre(type) != 0;  // the offset is -centre * d
  const __m128 factor = _mm_setr_ps(1, -centre(type), 0, 0);
  __m256 sum[streams][rows];
  __m128 offset[streams][rows];  // lane 1
  BATON_UNROLL
  for (int s = 0; s < streams; ++s) {
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      sum[s][i] = _mm256_setzero_ps();
      offset[s][i] = _mm_setzero_ps();
    }
  }
  for (int g = 0; g < groups; ++g, w += blockBytes(type)) {
    __m256i xg[rows];
    __m128 xScale[rows];
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      xg[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i * a.K + g * kGroup));
      xScale[i] =
          _mm_unpacklo_ps(_mm_load_ss(xd + i * groups + g), _mm_load_ss(xs + i * groups + g));
      if constexpr (kCentred) xScale[i] = _mm_mul_ps(xScale[i], factor);
    }
    BATON_UNROLL
    for (int s = 0; s < streams; ++s) {
      const std::byte* at = w + static_cast<size_t>(s) * streamBytes;
      _mm_prefetch(reinterpret_cast<const char*>(at) + kAhead, _MM_HINT_T0);
      const __m256i q = loadQuants<type>(at, 0);
      const __m128 scales = loadScales<type>(at);
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        const __m128 both = _mm_mul_ps(scales, xScale[i]);
        const __m256 dot = _mm256_cvtepi32_ps(groupDot<Dot, type>(q, xg[i]));
        sum[s][i] = _mm256_fmadd_ps(_mm256_broadcastss_ps(both), dot, sum[s][i]);
        if constexpr (!isSigned(type)) offset[s][i] = _mm_add_ps(offset[s][i], both);
      }
    }
  }
  BATON_UNROLL
  for (int s = 0; s < streams; ++s) {
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      float* y = a.y + static_cast<size_t>(r + i) * static_cast<size_t>(a.ldy) + n + s * apart;
      float dot = sumLanes(sum[s][i]);
      if constexpr (!isSigned(type)) dot += _mm_cvtss_f32(_mm_movehdup_ps(offset[s][i]));
      *y = a.accumulate ? *y + dot : dot;
    }
  }
}

// Each stream reads its own run of consecutive rows, so that memory sees few long streams.
template <class Dot, DType type, int rows, int streams>
void rowsTile(const LinearArgs& a, int r, int n0, int n1) {
  const int each = (n1 - n0) / streams;
  for (int n = n0; n < n0 + each; ++n) tile<Dot, type, rows, streams>(a, r, n, each);
  for (int n = n0 + each * streams; n < n1; ++n) tile<Dot, type, rows, 1>(a, r, n, 0);
}

template <class Dot, DType type>
void rows(const LinearArgs& a, int n0, int n1) {
  int r = 0;
  for (; r + 4 <= a.R; r += 4) rowsTile<Dot, type, 4, 1>(a, r, n0, n1);
  switch (a.R - r) {
    case 3:
      rowsTile<Dot, type, 3, 1>(a, r, n0, n1);
      break;
    case 2:
      rowsTile<Dot, type, 2, 2>(a, r, n0, n1);
      break;
    case 1:
      rowsTile<Dot, type, 1, 4>(a, r, n0, n1);
      break;
    default:
      break;
  }
}

// The one of `types` that a.type is.
template <class Dot, DType... types>
void int8Rows(const LinearArgs& a, int n0, int n1) {
  (void)((a.type == types && (rows<Dot, types>(a, n0, n1), true)) || ...);
}

}  // namespace
}  // namespace baton
