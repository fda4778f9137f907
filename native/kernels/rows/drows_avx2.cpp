// SPDX-License-Identifier: Apache-2.0
// drows.h with AVX2.
#include <immintrin.h>

#include <cstddef>

#include "kernels/lanes_avx2.h"
#include "kernels/math_avx2.h"
#include "kernels/rows.h"
#include "kernels/unroll.h"
#include "kernels/variants.h"

namespace baton {
namespace {

inline __m256 fourSum(const __m256* v) {
  return _mm256_add_ps(_mm256_add_ps(v[0], v[1]), _mm256_add_ps(v[2], v[3]));
}

// gelu'(g) and silu'(g) are 0 or 1 in float32 long before this; beyond it g^2 may be infinite.
constexpr float kFlat = 32.0f;

// act(g) and act'(g): drows.h. s is 0 below the smallest normal float, and 1 - s is taken as e s,
// which loses no digits.
template <bool gelu>
inline void activation(__m256 g, __m256* value, __m256* slope) {
  const __m256 one = _mm256_set1_ps(1.0f);
  __m256 x = g, inner = one;
  if constexpr (gelu) {
    const __m256 slopeOf = _mm256_set1_ps(kGeluSlope), cubeOf = _mm256_set1_ps(kGeluCube);
    const __m256 cube = _mm256_mul_ps(_mm256_mul_ps(g, g), g);
    x = _mm256_mul_ps(slopeOf, _mm256_fmadd_ps(cubeOf, cube, g));
    const __m256 near =
        _mm256_max_ps(_mm256_min_ps(g, _mm256_set1_ps(kFlat)), _mm256_set1_ps(-kFlat));
    const __m256 square = _mm256_mul_ps(_mm256_mul_ps(near, near), _mm256_set1_ps(3 * kGeluCube));
    inner = _mm256_fmadd_ps(square, slopeOf, slopeOf);
  }
  const __m256 e = exp8(_mm256_sub_ps(_mm256_setzero_ps(), x));
  __m256 s = _mm256_div_ps(one, _mm256_add_ps(one, e));
  s = _mm256_and_ps(s, _mm256_cmp_ps(x, _mm256_set1_ps(-87.0f), _CMP_NLT_UQ));  // NaN stays
  const __m256 turning = _mm256_mul_ps(_mm256_mul_ps(s, _mm256_mul_ps(e, s)), inner);
  *value = _mm256_mul_ps(g, s);
  *slope = _mm256_fmadd_ps(g, turning, s);
}

template <bool gelu>
void dGlu(const DGluArgs& a, int r0, int r1) {
  for (int r = r0; r < r1; ++r) {
    const size_t at = static_cast<size_t>(r) * static_cast<size_t>(a.F);
    for (int i = 0; i < a.F; i += 8) {
      const int count = a.F - i;
      const size_t from = at + static_cast<size_t>(i);
      const __m256 up = loadFirst(a.up + from, count);
      const __m256 dout = loadFirst(a.dout + from, count);
      __m256 value, slope;
      activation<gelu>(loadFirst(a.gate + from, count), &value, &slope);
      storeFirst(a.dgate + from, _mm256_mul_ps(_mm256_mul_ps(dout, up), slope), count);
      storeFirst(a.dup + from, _mm256_mul_ps(dout, value), count);
    }
  }
}

}  // namespace

void dRmsnormAvx2(const DRmsNormArgs& a, int r0, int r1) {
  for (int r = r0; r < r1; ++r) {
    const size_t row = static_cast<size_t>(r) * static_cast<size_t>(a.M);
    const float* x = a.x + row;
    const float* dy = a.dy + row;
    float* dx = a.dx + row;
    __m256 squares[4] = {}, dots[4] = {};
    int i = 0;
    for (; i + 32 <= a.M; i += 32) {
      BATON_UNROLL
      for (int p = 0; p < 4; ++p) {
        const __m256 v = _mm256_loadu_ps(x + i + 8 * p);
        const __m256 w = _mm256_loadu_ps(a.weight + i + 8 * p);
        squares[p] = _mm256_fmadd_ps(v, v, squares[p]);
        dots[p] = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_loadu_ps(dy + i + 8 * p), w), v, dots[p]);
      }
    }
    for (; i < a.M; i += 8) {
      const __m256 v = loadFirst(x + i, a.M - i);
      const __m256 w = loadFirst(a.weight + i, a.M - i);
      squares[0] = _mm256_fmadd_ps(v, v, squares[0]);
      dots[0] = _mm256_fmadd_ps(_mm256_mul_ps(loadFirst(dy + i, a.M - i), w), v, dots[0]);
    }
    const auto M = static_cast<float>(a.M);
    const float mean = sumLanes(fourSum(squares)) / M + a.epsilon;
    const __m256 along = _mm256_set1_ps(sumLanes(fourSum(dots)) / M / mean);
    const __m256 scale = _mm256_set1_ps(1.0f / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(mean))));
    for (i = 0; i < a.M; i += 8) {
      const int count = a.M - i;
      const __m256 v = _mm256_mul_ps(along, loadFirst(x + i, count));
      const __m256 w = loadFirst(a.weight + i, count);
      __m256 value = _mm256_mul_ps(scale, _mm256_fmsub_ps(w, loadFirst(dy + i, count), v));
      if (a.accumulate) value = _mm256_add_ps(loadFirst(dx + i, count), value);
      storeFirst(dx + i, value, count);
    }
  }
}

void dSwigluAvx2(const DGluArgs& a, int r0, int r1) {
  dGlu<false>(a, r0, r1);
}

void dGegluAvx2(const DGluArgs& a, int r0, int r1) {
  dGlu<true>(a, r0, r1);
}

}  // namespace baton
