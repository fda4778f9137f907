// SPDX-License-Identifier: Apache-2.0
// int8: 32 products of unsigned and signed bytes take three instructions, vpmaddubsw, vpmaddwd and
// the addition of the sums.
#include <immintrin.h>

#include "kernels/probes/probes.h"
#include "kernels/unroll.h"

namespace baton {
namespace {

float multiplyAdd(int64_t rounds) {
  __m256 sum[kProbeChains];
  for (int i = 0; i < kProbeChains; ++i) sum[i] = _mm256_set1_ps(static_cast<float>(i));
  const __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-3f);
  for (int64_t round = 0; round < rounds; ++round) {
    BATON_UNROLL
    for (int i = 0; i < kProbeChains; ++i) sum[i] = _mm256_fmadd_ps(sum[i], x, y);
  }
  __m256 all = sum[0];
  for (int i = 1; i < kProbeChains; ++i) all = _mm256_add_ps(all, sum[i]);
  return _mm256_cvtss_f32(all);
}

int32_t byteDots(int64_t rounds) {
  __m256i sum[kProbeChains];
  for (int i = 0; i < kProbeChains; ++i) sum[i] = _mm256_set1_epi32(i);
  __m256i x = _mm256_set1_epi8(3);
  const __m256i y = _mm256_set1_epi8(-2), ones = _mm256_set1_epi16(1);
  for (int64_t round = 0; round < rounds; ++round) {
    BATON_UNROLL
    for (int i = 0; i < kProbeChains; ++i) {
      asm volatile("" : "+x"(x));  // or the product would be computed once for all
      const __m256i pairs = _mm256_maddubs_epi16(x, y);
      sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(pairs, ones));
    }
  }
  __m256i all = sum[0];
  for (int i = 1; i < kProbeChains; ++i) all = _mm256_add_epi32(all, sum[i]);
  return _mm256_cvtsi256_si32(all);
}

uint64_t read(const void* from, size_t bytes) {
  const size_t quarter = bytes / 4;
  const auto* x = static_cast<const char*>(from);
  __m256i sum[8];
  for (__m256i& one : sum) one = _mm256_setzero_si256();
  for (size_t at = 0; at < quarter; at += 64) {
    BATON_UNROLL
    for (int i = 0; i < 8; ++i) {
      const char* place = x + static_cast<size_t>(i / 2) * quarter + at + 32 * (i % 2);
      sum[i] = _mm256_add_epi64(sum[i], _mm256_load_si256(reinterpret_cast<const __m256i*>(place)));
    }
  }
  __m256i all = sum[0];
  for (int i = 1; i < 8; ++i) all = _mm256_add_epi64(all, sum[i]);
  return static_cast<uint64_t>(_mm256_extract_epi64(all, 0));
}

}  // namespace

const Probes kAvx2Probes = {Isa::kAvx2,
                            "AVX2 FMA",
                            16.0 * kProbeChains,
                            multiplyAdd,
                            "AVX2 vpmaddubsw + vpmaddwd",
                            64.0 * kProbeChains,
                            byteDots,
                            read};

}  // namespace baton
