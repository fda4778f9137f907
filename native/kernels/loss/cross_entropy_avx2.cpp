// SPDX-License-Identifier: Apache-2.0
// cross_entropy.h with AVX2: the largest logit, then e^(logit - largest), kept in place where the
// gradient is wanted, then its multiple. Powers are float32, their sum is double.
#include <immintrin.h>

#include <cstddef>

#include "kernels/lanes_avx2.h"
#include "kernels/math_avx2.h"
#include "kernels/unroll.h"
#include "kernels/variants.h"

namespace baton {
namespace {

constexpr float kMinusInfinity = -__builtin_inff();

// Lanes that the mask leaves out become -inf.
inline __m256 loadLogits(const float* logits, __m256i mask) {
  return _mm256_blendv_ps(_mm256_set1_ps(kMinusInfinity), _mm256_maskload_ps(logits, mask),
                          _mm256_castsi256_ps(mask));
}

float largestOf(const float* logits, int V) {
  __m256 largest[4];
  BATON_UNROLL
  for (int p = 0; p < 4; ++p) largest[p] = _mm256_set1_ps(kMinusInfinity);
  int v = 0;
  for (; v + 32 <= V; v += 32) {
    BATON_UNROLL
    for (int p = 0; p < 4; ++p) {
      largest[p] = _mm256_max_ps(largest[p], _mm256_loadu_ps(logits + v + 8 * p));
    }
  }
  for (; v < V; v += 8) {
    largest[0] = _mm256_max_ps(largest[0], loadLogits(logits + v, tailMask(V - v)));
  }
  return largestLane(
      _mm256_max_ps(_mm256_max_ps(largest[0], largest[1]), _mm256_max_ps(largest[2], largest[3])));
}

inline void addLanes(__m256d* sum, __m256 v) {
  sum[0] = _mm256_add_pd(sum[0], _mm256_cvtps_pd(_mm256_castps256_ps128(v)));
  sum[1] = _mm256_add_pd(sum[1], _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)));
}

// Sum of e^(logit - largest); with `keep` they take the place of the logits.
template <bool keep>
double powers(float* logits, int V, float largest) {
  const __m256 shift = _mm256_set1_ps(largest);
  __m256d sum[2][2] = {};
  int v = 0;
  for (; v + 16 <= V; v += 16) {
    BATON_UNROLL
    for (int p = 0; p < 2; ++p) {
      const __m256 e = exp8(_mm256_sub_ps(_mm256_loadu_ps(logits + v + 8 * p), shift));
      if constexpr (keep) _mm256_storeu_ps(logits + v + 8 * p, e);
      addLanes(sum[p], e);
    }
  }
  for (; v < V; v += 8) {
    const __m256i mask = tailMask(V - v);
    const __m256 e = exp8(_mm256_sub_ps(loadLogits(logits + v, mask), shift));
    if constexpr (keep) _mm256_maskstore_ps(logits + v, mask, e);
    addLanes(sum[0], e);
  }
  const __m256d four =
      _mm256_add_pd(_mm256_add_pd(sum[0][0], sum[0][1]), _mm256_add_pd(sum[1][0], sum[1][1]));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

void multiply(float* values, int n, float factor) {
  const __m256 by = _mm256_set1_ps(factor);
  for (int i = 0; i < n; i += 8) {
    storeFirst(values + i, _mm256_mul_ps(loadFirst(values + i, n - i), by), n - i);
  }
}

}  // namespace

void crossEntropyAvx2(const CrossEntropyArgs& a, int r0, int r1) {
  for (int r = r0; r < r1; ++r) {
    float* logits = a.logits + static_cast<size_t>(r) * static_cast<size_t>(a.V);
    const float largest = largestOf(logits, a.V);
    float& own = logits[a.labels[r]];
    const double distance = static_cast<double>(own) - largest;  // of the label, below the largest
    const double sum = a.scale == nullptr ? powers<false>(logits, a.V, largest)
                                          : powers<true>(logits, a.V, largest);
    a.loss[r] = static_cast<float>(__builtin_log(sum) - distance);
    if (a.scale == nullptr) continue;
    const double factor = a.scale[r] / sum;
    const double others = sum - own;  // p - 1 = -others / sum
    multiply(logits, a.V, static_cast<float>(factor));
    own = static_cast<float>(-others * factor);
  }
}

}  // namespace baton
