// SPDX-License-Identifier: Apache-2.0
// int8 arithmetic for few rows: W is read once, in the file's layout, several weight rows (streams)
// at a time. Lanes run along k inside a group, so a sum ends with one horizontal add; the 16-bit
// pairs fit as linear_int8_avx2.cpp states.
#include "kernels/linear/linear.h"
#include "kernels/linear/parts_avx2.h"
#include "kernels/linear/weights_avx2.h"
#include "kernels/unroll.h"

namespace baton {
namespace {

// Bytes between the block in work and the one asked from memory; a prefetch beyond the end does no
// harm.
constexpr int kAhead = 768;

template <class Dot, DType type>
inline __m256i groupDot(__m256i w, __m256i x) {
  if constexpr (type == DType::kQ8_0) {
    return Dot::unsignedBySigned(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
  } else {
    return Dot::unsignedBySigned(w, x);
  }
}

template <DType type>
inline __m256i loadQuants(const std::byte* at) {
  if constexpr (type == DType::kQ8_0) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + 2));
  } else {
    const auto* q = reinterpret_cast<const __m128i*>(at + groupBytes<type>() - 16);
    const __m256i twice = _mm256_broadcastsi128_si256(_mm_loadu_si128(q));
    const __m256i shifted = _mm256_srlv_epi64(twice, _mm256_set_epi64x(4, 4, 0, 0));
    return _mm256_and_si256(shifted, _mm256_set1_epi8(15));
  }
}

// (d, c / d's factor of xs) of one group: lane 0 meets xd, lane 1 meets xs.
template <DType type>
inline __m128 loadScales(const std::byte* at) {
  int32_t pair;
  if constexpr (type == DType::kQ4_1) {
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
  const size_t rowBytes = groupBytes<type>() * static_cast<size_t>(groups);
  const size_t streamBytes = static_cast<size_t>(apart) * rowBytes;
  const auto* w = static_cast<const std::byte*>(a.weight) + static_cast<size_t>(n) * rowBytes;
  const size_t row = static_cast<size_t>(r);
  const int8_t* x = a.xq + row * static_cast<size_t>(a.K);
  const float* xd = a.xd + row * static_cast<size_t>(groups);
  const float* xs = a.xs + row * static_cast<size_t>(groups);
  // Q4_0's offset is -8 d.
  const __m128 factor = type == DType::kQ4_0 ? _mm_setr_ps(1, -8, 0, 0) : _mm_setr_ps(1, 1, 0, 0);
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
  for (int g = 0; g < groups; ++g, w += groupBytes<type>()) {
    __m256i xg[rows];
    __m128 xScale[rows];
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      xg[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i * a.K + g * kGroup));
      xScale[i] =
          _mm_unpacklo_ps(_mm_load_ss(xd + i * groups + g), _mm_load_ss(xs + i * groups + g));
      if constexpr (type == DType::kQ4_0) xScale[i] = _mm_mul_ps(xScale[i], factor);
    }
    BATON_UNROLL
    for (int s = 0; s < streams; ++s) {
      const std::byte* at = w + static_cast<size_t>(s) * streamBytes;
      _mm_prefetch(reinterpret_cast<const char*>(at) + kAhead, _MM_HINT_T0);
      const __m256i q = loadQuants<type>(at);
      const __m128 scales = loadScales<type>(at);
      BATON_UNROLL
      for (int i = 0; i < rows; ++i) {
        const __m128 both = _mm_mul_ps(scales, xScale[i]);
        const __m256 dot = _mm256_cvtepi32_ps(groupDot<Dot, type>(q, xg[i]));
        sum[s][i] = _mm256_fmadd_ps(_mm256_broadcastss_ps(both), dot, sum[s][i]);
        if constexpr (type != DType::kQ8_0) offset[s][i] = _mm_add_ps(offset[s][i], both);
      }
    }
  }
  BATON_UNROLL
  for (int s = 0; s < streams; ++s) {
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      float* y = a.y + static_cast<size_t>(r + i) * static_cast<size_t>(a.ldy) + n + s * apart;
      float dot = sumLanes(sum[s][i]);
      if constexpr (type != DType::kQ8_0) dot += _mm_cvtss_f32(_mm_movehdup_ps(offset[s][i]));
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

template <class Dot>
void int8Rows(const LinearArgs& a, int n0, int n1) {
  switch (a.type) {
    case DType::kQ8_0:
      rows<Dot, DType::kQ8_0>(a, n0, n1);
      break;
    case DType::kQ4_0:
      rows<Dot, DType::kQ4_0>(a, n0, n1);
      break;
    case DType::kQ4_1:
      rows<Dot, DType::kQ4_1>(a, n0, n1);
      break;
    default:
      break;  // other types have no int8 form: linear.h
  }
}

}  // namespace
}  // namespace baton
