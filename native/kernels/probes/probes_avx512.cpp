// SPDX-License-Identifier: Apache-2.0
// int8: vpdpbusd (VNNI), 64 products an instruction. bf16: vdpbf16ps, 32 products.
#include <immintrin.h>

#include "kernels/probes/probes.h"
#include "kernels/unroll.h"

namespace baton {

float probeFmaAvx512(int64_t rounds) {
  __m512 sum[kProbeChains];
  for (int i = 0; i < kProbeChains; ++i) sum[i] = _mm512_set1_ps(static_cast<float>(i));
  const __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-3f);
  for (int64_t round = 0; round < rounds; ++round) {
    BATON_UNROLL
    for (int i = 0; i < kProbeChains; ++i) sum[i] = _mm512_fmadd_ps(sum[i], x, y);
  }
  __m512 all = sum[0];
  for (int i = 1; i < kProbeChains; ++i) all = _mm512_add_ps(all, sum[i]);
  return _mm512_cvtss_f32(all);
}

namespace {

int32_t byteDots(int64_t rounds) {
  __m512i sum[kProbeChains];
  for (int i = 0; i < kProbeChains; ++i) sum[i] = _mm512_set1_epi32(i);
  const __m512i x = _mm512_set1_epi8(3), y = _mm512_set1_epi8(-2);
  for (int64_t round = 0; round < rounds; ++round) {
    BATON_UNROLL
    for (int i = 0; i < kProbeChains; ++i) sum[i] = _mm512_dpbusd_epi32(sum[i], x, y);
  }
  __m512i all = sum[0];
  for (int i = 1; i < kProbeChains; ++i) all = _mm512_add_epi32(all, sum[i]);
  return _mm_cvtsi128_si32(_mm512_castsi512_si128(all));
}

float bfloatDots(int64_t rounds) {
  __m512 sum[kProbeChains];
  for (int i = 0; i < kProbeChains; ++i) sum[i] = _mm512_set1_ps(static_cast<float>(i));
  const __m512bh x = (__m512bh)_mm512_set1_epi32(0x3f803f80);   // 1
  const __m512bh y = (__m512bh)_mm512_set1_epi32(-0x457f4580);  // about -1e-3
  for (int64_t round = 0; round < rounds; ++round) {
    BATON_UNROLL
    for (int i = 0; i < kProbeChains; ++i) sum[i] = _mm512_dpbf16_ps(sum[i], x, y);
  }
  __m512 all = sum[0];
  for (int i = 1; i < kProbeChains; ++i) all = _mm512_add_ps(all, sum[i]);
  return _mm512_cvtss_f32(all);
}

}  // namespace

uint64_t probeReadAvx512(const void* from, size_t bytes) {
  const size_t quarter = bytes / 4;
  const auto* x = static_cast<const char*>(from);
  __m512i sum[8];
  for (__m512i& one : sum) one = _mm512_setzero_si512();
  for (size_t at = 0; at < quarter; at += 128) {
    BATON_UNROLL
    for (int i = 0; i < 8; ++i) {
      const char* place = x + static_cast<size_t>(i / 2) * quarter + at + 64 * (i % 2);
      sum[i] = _mm512_add_epi64(sum[i], _mm512_load_si512(place));
    }
  }
  __m512i all = sum[0];
  for (int i = 1; i < 8; ++i) all = _mm512_add_epi64(all, sum[i]);
  return static_cast<uint64_t>(_mm_cvtsi128_si64(_mm512_castsi512_si128(all)));
}

const Probes kAvx512Probes = {Isa::kAvx512,
                              "AVX-512 FMA",
                              kAvx512FmaFlops,
                              probeFmaAvx512,
                              "AVX-512 VNNI vpdpbusd",
                              128.0 * kProbeChains,
                              byteDots,
                              probeReadAvx512,
                              "AVX-512 vdpbf16ps",
                              64.0 * kProbeChains,
                              bfloatDots};

}  // namespace baton
