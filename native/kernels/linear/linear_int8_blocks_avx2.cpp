// SPDX-License-Identifier: Apache-2.0
// int8 arithmetic for few rows, of types with super-blocks of 256: as int8_rows_256.h, with the
// scales of eight groups unpacked at once. The 16-bit pairs fit as linear_int8_avx2.cpp states.
#include "kernels/linear/linear.h"
#include "kernels/linear/parts_avx2.h"
#include "kernels/linear/weights_avx2.h"
#include "kernels/unroll.h"

namespace baton {
namespace {

constexpr int kGroups = 8;    // of a block
constexpr int kAhead = 1024;  // bytes between the block in work and the one asked from memory

inline void prefetchBlock(const std::byte* block, size_t bytes) {
  for (size_t at = 0; at < bytes; at += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(block) + kAhead + at, _MM_HINT_T0);
  }
}

// Q6_K: the scales of both sections of group g, for the 16-bit pairs of 32 products.
inline __m256i sectionScales(const std::byte* block, int g) {
  const auto* scales = reinterpret_cast<const BlockQ6_K*>(block)->scales;
  const __m128i both =
      _mm_unpacklo_epi64(_mm_set1_epi8(scales[2 * g]), _mm_set1_epi8(scales[2 * g + 1]));
  return _mm256_cvtepi8_epi16(both);
}

// Eight 32-bit parts of a group's dot product; of Q6_K with the scales of its sections in them,
// which makes 32 * 32 * 127 * 128 < 2^24 at most: exact as float32 too.
template <DType type>
inline __m256i groupDot(__m256i w, __m256i x, __m256i factors) {
  const __m256i pairs = isSigned(type)
                            ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
                            : _mm256_maddubs_epi16(w, x);
  return _mm256_madd_epi16(pairs, factors);
}

// Scales of the block times those of x: scale[i][g]. Offsets go straight into the sums.
template <DType type, int rows>
inline void blockScales(const std::byte* block, const __m256* xd, const __m256* xs,
                        float (*scale)[kGroups], __m256* offset) {
  __m256 d, c;
  if constexpr (isSigned(type)) {
    d = _mm256_set1_ps(scaleOf(block + offsetof(BlockQ6_K, d)));
  } else {
    loadBlockScales(block, &d, &c);
  }
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    _mm256_store_ps(scale[i], _mm256_mul_ps(d, xd[i]));
    if constexpr (!isSigned(type)) offset[i] = _mm256_fmadd_ps(c, xs[i], offset[i]);
  }
}

// Rows r .. r + rows of x with columns n, n + apart, n + 2 apart, ..., `streams` of them.
template <DType type, int rows, int streams>
void tile(const LinearArgs& a, int r, int n, int apart) {
  const int groups = a.K / kGroup;
  const size_t stride = rowBytes(type, a.K);
  const size_t streamBytes = static_cast<size_t>(apart) * stride;
  const auto* w = static_cast<const std::byte*>(a.weight) + static_cast<size_t>(n) * stride;
  const size_t row = static_cast<size_t>(r);
  const int8_t* x = a.xq + row * static_cast<size_t>(a.K);
  const float* xd = a.xd + row * static_cast<size_t>(groups);
  const float* xs = a.xs + row * static_cast<size_t>(groups);
  __m256 sum[streams][rows], offset[streams][rows];
  BATON_UNROLL
  for (int s = 0; s < streams; ++s) {
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) sum[s][i] = offset[s][i] = _mm256_setzero_ps();
  }
  for (int g0 = 0; g0 < groups; g0 += kGroups, w += blockBytes(type)) {
    __m256 xScale[rows], xSum[rows];
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      xScale[i] = _mm256_loadu_ps(xd + i * groups + g0);
      xSum[i] = _mm256_loadu_ps(xs + i * groups + g0);
    }
    BATON_UNROLL
    for (int s = 0; s < streams; ++s) {
      const std::byte* block = w + static_cast<size_t>(s) * streamBytes;
      prefetchBlock(block, blockBytes(type));
      alignas(32) float scale[rows][kGroups];
      blockScales<type, rows>(block, xScale, xSum, scale, offset[s]);
      BATON_UNROLL
      for (int g = 0; g < kGroups; ++g) {
        const __m256i q = loadQuants<type>(block, g);
        const __m256i factors = isSigned(type) ? sectionScales(block, g) : _mm256_set1_epi16(1);
        BATON_UNROLL
        for (int i = 0; i < rows; ++i) {
          const auto* at = reinterpret_cast<const __m256i*>(x + i * a.K + (g0 + g) * kGroup);
          const __m256i dot = groupDot<type>(q, _mm256_loadu_si256(at), factors);
          sum[s][i] = _mm256_fmadd_ps(_mm256_broadcast_ss(&scale[i][g]), _mm256_cvtepi32_ps(dot),
                                      sum[s][i]);
        }
      }
    }
  }
  BATON_UNROLL
  for (int s = 0; s < streams; ++s) {
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      float* y = a.y + static_cast<size_t>(r + i) * static_cast<size_t>(a.ldy) + n + s * apart;
      const float dot = sumLanes(_mm256_add_ps(sum[s][i], offset[s][i]));
      *y = a.accumulate ? *y + dot : dot;
    }
  }
}

// Each stream reads its own run of consecutive rows, so that memory sees few long streams.
template <DType type, int rows, int streams>
void rowsTile(const LinearArgs& a, int r, int n0, int n1) {
  const int each = (n1 - n0) / streams;
  for (int n = n0; n < n0 + each; ++n) tile<type, rows, streams>(a, r, n, each);
  for (int n = n0 + each * streams; n < n1; ++n) tile<type, rows, 1>(a, r, n, 0);
}

template <DType type>
void rows(const LinearArgs& a, int n0, int n1) {
  int r = 0;
  for (; r + 4 <= a.R; r += 4) rowsTile<type, 4, 1>(a, r, n0, n1);
  switch (a.R - r) {
    case 3:
      rowsTile<type, 3, 1>(a, r, n0, n1);
      break;
    case 2:
      rowsTile<type, 2, 1>(a, r, n0, n1);
      break;
    case 1:
      rowsTile<type, 1, 2>(a, r, n0, n1);
      break;
    default:
      break;
  }
}

}  // namespace

void linearInt8BlocksAvx2(const LinearArgs& a, int n0, int n1) {
  switch (a.type) {
    case DType::kQ4_K:
      rows<DType::kQ4_K>(a, n0, n1);
      break;
    case DType::kQ5_K:
      rows<DType::kQ5_K>(a, n0, n1);
      break;
    case DType::kQ6_K:
      rows<DType::kQ6_K>(a, n0, n1);
      break;
    default:
      break;  // no super-blocks
  }
}

}  // namespace baton
