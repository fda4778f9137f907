// SPDX-License-Identifier: Apache-2.0
// The intrinsics of AVX-512 on any x86-64, for the tests of its kernels: included ahead of each by
// the compiler's command line. SIMDe has nearly all (Debian: libsimde-dev 0.7.4); what the kernels
// take beyond that is below, lane by lane.
#pragma once

#include <immintrin.h>
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "bf16.h"

namespace baton::emulation {

template <class T>
struct Lanes {
  Lanes() = default;
  explicit Lanes(const void* from) { std::memcpy(at, from, sizeof at); }
  T at[16] = {};
};
using Floats = Lanes<float>;
using Integers = Lanes<int32_t>;

inline __m512 vectorOf(const Floats& lanes) {
  __m512 out;
  std::memcpy(&out, lanes.at, sizeof out);
  return out;
}
inline __m512i vectorOf(const Integers& lanes) {
  __m512i out;
  std::memcpy(&out, lanes.at, sizeof out);
  return out;
}

template <class To, class From, class Fn>
auto each(const Lanes<From>& from, const Fn& fn) {
  Lanes<To> to;
  for (int i = 0; i < 16; ++i) to.at[i] = fn(from.at[i]);
  return vectorOf(to);
}

// By halves, as the shuffles of the real one.
template <class Fn>
float reduce(__m512 vector, const Fn& fn) {
  Floats lanes(&vector);
  for (int n = 8; n > 0; n /= 2) {
    for (int i = 0; i < n; ++i) lanes.at[i] = fn(lanes.at[i], lanes.at[i + n]);
  }
  return lanes.at[0];
}

inline __m512 cvtepi32_ps(__m512i a) {
  return each<float>(Integers(&a), [](int32_t v) { return static_cast<float>(v); });
}
inline __m512i cvtps_epi32(__m512 a) {
  return each<int32_t>(Floats(&a), [](float v) { return static_cast<int32_t>(std::nearbyint(v)); });
}
inline __m512i cvtepu16_epi32(__m256i a) {
  return each<int32_t>(Lanes<uint16_t>(&a), [](uint16_t v) { return int32_t{v}; });
}
inline __m512i cvtepi8_epi32(__m128i a) {
  return each<int32_t>(Lanes<int8_t>(&a), [](int8_t v) { return int32_t{v}; });
}
inline __m512i srai_epi32(__m512i a, int bits) {
  return each<int32_t>(Integers(&a), [bits](int32_t v) { return v >> bits; });
}
inline __m512i srav_epi32(__m512i a, __m512i bits) {
  Integers lanes(&a);
  const Lanes<uint32_t> by(&bits);
  for (int i = 0; i < 16; ++i) lanes.at[i] >>= by.at[i] < 31 ? by.at[i] : 31;
  return vectorOf(lanes);
}
inline __m512i cvtepu8_epi32(__m128i a) {
  return each<int32_t>(Lanes<uint8_t>(&a), [](uint8_t v) { return int32_t{v}; });
}
inline __m512 cvtph_ps(__m256i a) {
  const __m256 halves[2] = {_mm256_cvtph_ps(_mm256_castsi256_si128(a)),
                            _mm256_cvtph_ps(_mm256_extracti128_si256(a, 1))};
  __m512 out;
  std::memcpy(&out, halves, sizeof out);
  return out;
}
inline __m512 maskz_loadu_ps(__mmask16 mask, const void* from) {
  Floats lanes;
  for (int i = 0; i < 16; ++i) {
    if (mask >> i & 1)
      std::memcpy(&lanes.at[i], static_cast<const float*>(from) + i, sizeof(float));
  }
  return vectorOf(lanes);
}
inline void mask_storeu_ps(void* to, __mmask16 mask, __m512 a) {
  const Floats lanes(&a);
  for (int i = 0; i < 16; ++i) {
    if (mask >> i & 1) std::memcpy(static_cast<float*>(to) + i, &lanes.at[i], sizeof(float));
  }
}
inline float reduce_add_ps(__m512 a) {
  return reduce(a, [](float x, float y) { return x + y; });
}
inline float reduce_max_ps(__m512 a) {
  return reduce(a, [](float x, float y) { return x > y ? x : y; });
}
// Quarters of 128 bits: two of a, then two of b.
template <int quarters>
__m512 shuffle_f32x4(__m512 a, __m512 b) {
  const Floats from[2] = {Floats(&a), Floats(&b)};
  Floats to;
  for (int i = 0; i < 16; ++i) {
    to.at[i] = from[i / 8].at[(quarters >> (i / 4 * 2) & 3) * 4 + i % 4];
  }
  return vectorOf(to);
}
// The same order of four in each quarter.
template <int order>
__m512 permute_ps(__m512 a) {
  const Floats from(&a);
  Floats to;
  for (int i = 0; i < 16; ++i) to.at[i] = from.at[i / 4 * 4 + (order >> (i % 4 * 2) & 3)];
  return vectorOf(to);
}
// b in the lower half.
inline __m512bh cvtne2ps_pbh(__m512 a, __m512 b) {
  const Floats from[2] = {Floats(&b), Floats(&a)};
  uint16_t to[32];
  for (int i = 0; i < 32; ++i) to[i] = bfloatOf(from[i / 16].at[i % 16]);
  __m512bh out;
  std::memcpy(&out, to, sizeof out);
  return out;
}
inline __m256bh cvtneps_pbh(__m512 a) {
  const Floats from(&a);
  uint16_t to[16];
  for (int i = 0; i < 16; ++i) to[i] = bfloatOf(from.at[i]);
  __m256bh out;
  std::memcpy(&out, to, sizeof out);
  return out;
}
// Of each pair the upper product first.
inline __m512 dpbf16_ps(__m512 sum, __m512bh a, __m512bh b) {
  Floats lanes(&sum);
  uint16_t left[32], right[32];
  std::memcpy(left, &a, sizeof left);
  std::memcpy(right, &b, sizeof right);
  for (int i = 0; i < 16; ++i) {
    lanes.at[i] = addProduct(lanes.at[i], left[2 * i + 1], right[2 * i + 1]);
    lanes.at[i] = addProduct(lanes.at[i], left[2 * i], right[2 * i]);
  }
  return vectorOf(lanes);
}
inline float cvtss_f32(__m512 a) {
  return Floats(&a).at[0];
}

}  // namespace baton::emulation

#define _mm512_cvtepi32_ps baton::emulation::cvtepi32_ps
#define _mm512_cvtps_epi32 baton::emulation::cvtps_epi32
#define _mm512_cvtepu16_epi32 baton::emulation::cvtepu16_epi32
#define _mm512_cvtepi8_epi32 baton::emulation::cvtepi8_epi32
#define _mm512_srai_epi32 baton::emulation::srai_epi32
#define _mm512_srav_epi32 baton::emulation::srav_epi32
#define _mm512_cvtepu8_epi32 baton::emulation::cvtepu8_epi32
#define _mm512_cvtph_ps baton::emulation::cvtph_ps
#define _mm512_maskz_loadu_ps baton::emulation::maskz_loadu_ps
#define _mm512_mask_storeu_ps baton::emulation::mask_storeu_ps
#define _mm512_reduce_add_ps baton::emulation::reduce_add_ps
#define _mm512_reduce_max_ps baton::emulation::reduce_max_ps
#define _mm512_cvtss_f32 baton::emulation::cvtss_f32
#define _mm512_cvtne2ps_pbh baton::emulation::cvtne2ps_pbh
#define _mm512_cvtneps_pbh baton::emulation::cvtneps_pbh
#undef _mm512_dpbf16_ps
#define _mm512_dpbf16_ps baton::emulation::dpbf16_ps
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4(a, b, quarters) baton::emulation::shuffle_f32x4<quarters>(a, b)
#undef _mm512_permute_ps
#define _mm512_permute_ps(a, order) baton::emulation::permute_ps<order>(a)
