// SPDX-License-Identifier: Apache-2.0
// rows.h with AVX2.
#include <immintrin.h>

#include "kernels/lanes_avx2.h"
#include "kernels/linear/weights_avx2.h"
#include "kernels/math_avx2.h"
#include "kernels/variants.h"

namespace baton {
namespace {

constexpr float kTiniest = 1e-30f;  // groups below are zero: rows.h
constexpr float kLargestHalf = 65504;

template <DType type>
void embed(const EmbedArgs& a, int r0, int r1) {
  const size_t stride = rowBytes(type, a.M);
  const __m256 scale = _mm256_set1_ps(a.scale);
  for (int r = r0; r < r1; ++r) {
    if (a.tokens[r] < 0) continue;
    const auto* w =
        static_cast<const std::byte*>(a.table) + static_cast<size_t>(a.tokens[r]) * stride;
    float* out = a.out + static_cast<size_t>(r) * static_cast<size_t>(a.M);
    int i = 0, g = 0;  // g: group of its block
    for (; i + 32 <= a.M; i += 32) {
      const Group8x4 group = loadGroup<type>(w, g);
      for (int p = 0; p < 4; ++p) {
        _mm256_storeu_ps(out + i + 8 * p, _mm256_mul_ps(group.v[p], scale));
      }
      if (++g == blockGroups(type)) {
        g = 0;
        w += blockBytes(type);
      }
    }
    if (i < a.M) {
      alignas(32) float tail[32];
      const Group8x4 group = loadTail<type>(w, a.M - i);
      for (int p = 0; p < 4; ++p) {
        _mm256_store_ps(tail + 8 * p, _mm256_mul_ps(group.v[p], scale));
      }
      std::memcpy(out + i, tail, static_cast<size_t>(a.M - i) * 4);
    }
  }
}

// 1 / sqrt(mean(x^2) + epsilon) in all lanes.
__m256 normScale(const float* x, int M, float epsilon) {
  __m256 sum[4] = {};
  int i = 0;
  for (; i + 32 <= M; i += 32) {
    for (int p = 0; p < 4; ++p) {
      const __m256 v = _mm256_loadu_ps(x + i + 8 * p);
      sum[p] = _mm256_fmadd_ps(v, v, sum[p]);
    }
  }
  for (; i < M; i += 8) {
    const __m256 v = loadFirst(x + i, M - i);
    sum[0] = _mm256_fmadd_ps(v, v, sum[0]);
  }
  const float squares =
      sumLanes(_mm256_add_ps(_mm256_add_ps(sum[0], sum[1]), _mm256_add_ps(sum[2], sum[3])));
  const float mean = squares / static_cast<float>(M) + epsilon;
  return _mm256_set1_ps(1.0f / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(mean))));
}

inline __m256i quantizeEight(__m256 x, __m256 inverse) {
  const __m256i q = _mm256_cvtps_epi32(_mm256_mul_ps(x, inverse));
  return _mm256_max_epi32(_mm256_min_epi32(q, _mm256_set1_epi32(127)), _mm256_set1_epi32(-127));
}

inline float largestMagnitude(const Group8x4& x) {
  const __m256 noSign = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  __m256 m = _mm256_and_ps(x.v[0], noSign);
  for (int p = 1; p < 4; ++p) m = _mm256_max_ps(m, _mm256_and_ps(x.v[p], noSign));
  __m128 h = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
  h = _mm_max_ps(h, _mm_movehl_ps(h, h));
  return _mm_cvtss_f32(_mm_max_ss(h, _mm_movehdup_ps(h)));
}

inline void quantizeGroup(const Group8x4& x, int8_t* q, float* d, float* s) {
  const float largest = largestMagnitude(x);
  const bool zero = largest < kTiniest;
  *d = zero ? 0.0f : largest / 127.0f;
  const __m256 inverse = _mm256_set1_ps(zero ? 0.0f : 127.0f / largest);
  __m256i part[4];
  for (int p = 0; p < 4; ++p) part[p] = quantizeEight(x.v[p], inverse);
  const __m256i total =
      _mm256_add_epi32(_mm256_add_epi32(part[0], part[1]), _mm256_add_epi32(part[2], part[3]));
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
  *s = *d * static_cast<float>(_mm_cvtsi128_si32(sum));
  const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(part[0], part[1]),
                                           _mm256_packs_epi32(part[2], part[3]));
  // The packs work inside 128-bit halves and leave dwords of part order 0 1 2 3 | 0 1 2 3.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), _mm256_permutevar8x32_epi32(bytes, order));
}

void ropeAdjacent(const float* x, float* out, const float* c, const float* s, int D, __m256 sign) {
  const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
  for (int i = 0; i < D; i += 8) {
    const __m256 both = _mm256_loadu_ps(x + i);
    const __m256 cc =
        _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(c + i / 2)), twice);
    __m256 ss = _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(s + i / 2)), twice);
    ss = _mm256_xor_ps(ss, sign);
    const __m256 swapped = _mm256_permute_ps(both, 0xb1);
    _mm256_storeu_ps(out + i, _mm256_fmaddsub_ps(both, cc, _mm256_mul_ps(swapped, ss)));
  }
}

void ropeHalves(const float* x, float* out, const float* c, const float* s, int D, __m256 sign) {
  const int half = D / 2;
  for (int i = 0; i < half; i += 8) {
    const __m256 x1 = _mm256_loadu_ps(x + i), x2 = _mm256_loadu_ps(x + i + half);
    const __m256 cc = _mm256_loadu_ps(c + i);
    const __m256 ss = _mm256_xor_ps(_mm256_loadu_ps(s + i), sign);
    _mm256_storeu_ps(out + i, _mm256_fmsub_ps(x1, cc, _mm256_mul_ps(x2, ss)));
    _mm256_storeu_ps(out + i + half, _mm256_fmadd_ps(x2, cc, _mm256_mul_ps(x1, ss)));
  }
}

inline void storeBf16(void* at, __m256 value) {
  const __m256i bits = _mm256_castps_si256(value);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256 isNan = _mm256_cmp_ps(value, value, _CMP_UNORD_Q);
  rounded = _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(isNan));
  rounded = _mm256_srli_epi32(rounded, 16);
  _mm_storeu_si128(
      static_cast<__m128i*>(at),
      _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1)));
}

template <KvType kv>
inline void storeKv(std::byte* at, __m256 value) {
  if constexpr (kv == KvType::kF32) {
    _mm256_storeu_ps(reinterpret_cast<float*>(at), value);
  } else if constexpr (kv == KvType::kF16) {
    const __m128i half = _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(at), half);
  } else {
    storeBf16(at, value);
  }
}

template <KvType kv>
void kvStore(const KvStoreArgs& a, int r0, int r1) {
  constexpr size_t kBytes = kvTypeBytes(kv);
  for (int r = r0; r < r1; ++r) {
    const auto slot = static_cast<size_t>(a.slot[r]);
    for (int g = 0; g < a.G; ++g) {
      const size_t at =
          static_cast<size_t>(a.block[r]) * a.blockStride + static_cast<size_t>(g) * a.headStride;
      const float* k = a.k + static_cast<size_t>(r) * static_cast<size_t>(a.ldk) + g * a.D;
      const float* v = a.v + static_cast<size_t>(r) * static_cast<size_t>(a.ldv) + g * a.D;
      std::byte* kLane = a.kBase + at + slot * kBytes;
      std::byte* vRow = a.vBase + at + slot * static_cast<size_t>(a.D) * kBytes;
      for (int t = 0; t < a.D; t += 8) {
        storeKv<kv>(vRow + static_cast<size_t>(t) * kBytes, _mm256_loadu_ps(v + t));
        alignas(32) std::byte lanes[32];
        storeKv<kv>(lanes, _mm256_loadu_ps(k + t));
        for (size_t i = 0; i < 8; ++i) {
          std::memcpy(kLane + (static_cast<size_t>(t) + i) * kBlockRows * kBytes,
                      lanes + i * kBytes, kBytes);
        }
      }
    }
  }
}

// A row of int8 K or V of one head: its quants to `out` [D], its scale to `scaleAt`.
inline void quantizeKv(const float* x, int D, int8_t* out, std::byte* scaleAt) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  __m256 largest = _mm256_setzero_ps(), unordered = _mm256_setzero_ps();
  for (int t = 0; t < D; t += 8) {
    const __m256 value = _mm256_loadu_ps(x + t);
    largest = _mm256_max_ps(_mm256_andnot_ps(sign, value), largest);
    unordered = _mm256_or_ps(unordered, _mm256_cmp_ps(value, value, _CMP_UNORD_Q));
  }
  float wanted = largestLane(largest) / 127;
  wanted = wanted > kLargestHalf ? kLargestHalf : wanted;
  if (_mm256_movemask_ps(unordered) != 0) wanted = __builtin_nanf("");
  const uint16_t half = _cvtss_sh(wanted, _MM_FROUND_TO_NEAREST_INT);
  std::memcpy(scaleAt, &half, sizeof half);
  const float scale = _cvtsh_ss(half);
  const __m256 inverse = _mm256_set1_ps(scale > 0 ? 1 / scale : 0);
  for (int t = 0; t < D; t += 8) {
    __m256 value = _mm256_mul_ps(_mm256_loadu_ps(x + t), inverse);
    value = _mm256_max_ps(value, _mm256_set1_ps(-127));  // NaN becomes -127
    value = _mm256_min_ps(value, _mm256_set1_ps(127));
    const __m256i quants = _mm256_cvtps_epi32(value);
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(quants), _mm256_extracti128_si256(quants, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out + t), _mm_packs_epi16(words, words));
  }
}

// As kvStore, a row at a time: a scale must be known before the first element.
void kvStoreInt8(const KvStoreArgs& a, int r0, int r1) {
  for (int r = r0; r < r1; ++r) {
    const auto slot = static_cast<size_t>(a.slot[r]);
    const auto D = static_cast<size_t>(a.D);
    for (int g = 0; g < a.G; ++g) {
      const size_t at =
          static_cast<size_t>(a.block[r]) * a.blockStride + static_cast<size_t>(g) * a.headStride;
      const float* k = a.k + static_cast<size_t>(r) * static_cast<size_t>(a.ldk) + g * a.D;
      const float* v = a.v + static_cast<size_t>(r) * static_cast<size_t>(a.ldv) + g * a.D;
      const size_t scaleAt = at + D * kBlockRows + 2 * slot;
      quantizeKv(v, a.D, reinterpret_cast<int8_t*>(a.vBase + at + slot * D), a.vBase + scaleAt);
      int8_t lanes[kMostHeadDim];
      quantizeKv(k, a.D, lanes, a.kBase + scaleAt);
      std::byte* lane = a.kBase + at + slot;
      for (size_t t = 0; t < D; ++t) lane[t * kBlockRows] = static_cast<std::byte>(lanes[t]);
    }
  }
}

// gate / (1 + e^-x) * up.
inline __m256 sigmoidGate(__m256 gate, __m256 x, __m256 up) {
  const __m256 one = _mm256_set1_ps(1.0f);
  const __m256 e = exp8(_mm256_sub_ps(_mm256_setzero_ps(), x));
  return _mm256_mul_ps(_mm256_div_ps(gate, _mm256_add_ps(one, e)), up);
}

inline __m256 swigluEight(__m256 gate, __m256 up) {
  return sigmoidGate(gate, gate, up);
}

inline __m256 gegluEight(__m256 gate, __m256 up) {
  const __m256 cube = _mm256_mul_ps(_mm256_mul_ps(gate, gate), gate);
  const __m256 z = _mm256_fmadd_ps(_mm256_set1_ps(kGeluCube), cube, gate);
  return sigmoidGate(gate, _mm256_mul_ps(_mm256_set1_ps(kGeluSlope), z), up);
}

template <bool gelu>
void glu(const GluArgs& a, int r0, int r1) {
  for (int r = r0; r < r1; ++r) {
    const size_t at = static_cast<size_t>(r) * static_cast<size_t>(a.F);
    for (int i = 0; i < a.F; i += 8) {
      const size_t from = at + static_cast<size_t>(i);
      const __m256 gate = loadFirst(a.gate + from, a.F - i);
      const __m256 up = loadFirst(a.up + from, a.F - i);
      const __m256 value = gelu ? gegluEight(gate, up) : swigluEight(gate, up);
      storeFirst(a.out + from, value, a.F - i);
    }
  }
}

}  // namespace

void embedAvx2(const EmbedArgs& a, int r0, int r1) {
  withType(a.type, [&](auto type) { embed<decltype(type)::value>(a, r0, r1); });
}

void rmsnormAvx2(const RmsNormArgs& a, int r0, int r1) {
  for (int r = r0; r < r1; ++r) {
    const float* x = a.x + static_cast<size_t>(r) * static_cast<size_t>(a.M);
    float* y = a.y + static_cast<size_t>(r) * static_cast<size_t>(a.M);
    const __m256 scale = normScale(x, a.M, a.epsilon);
    for (int i = 0; i < a.M; i += 8) {
      __m256 v = _mm256_mul_ps(loadFirst(x + i, a.M - i), scale);
      v = _mm256_mul_ps(v, loadFirst(a.weight + i, a.M - i));
      if (a.accumulate) v = _mm256_add_ps(loadFirst(y + i, a.M - i), v);
      storeFirst(y + i, v, a.M - i);
    }
  }
}

void addBiasAvx2(const AddBiasArgs& a, int r0, int r1) {
  for (int r = r0; r < r1; ++r) {
    float* y = a.y + static_cast<size_t>(r) * static_cast<size_t>(a.N);
    for (int i = 0; i < a.N; i += 8) {
      const __m256 bias = loadFirst(a.bias + i, a.N - i);
      storeFirst(y + i, _mm256_add_ps(loadFirst(y + i, a.N - i), bias), a.N - i);
    }
  }
}

void quantizeAvx2(const QuantizeArgs& a, int r0, int r1) {
  const auto groups = static_cast<size_t>(a.K / kGroup);
  for (size_t g = static_cast<size_t>(r0) * groups; g < static_cast<size_t>(r1) * groups; ++g) {
    Group8x4 x;
    for (int p = 0; p < 4; ++p) x.v[p] = _mm256_loadu_ps(a.x + g * kGroup + 8 * p);
    quantizeGroup(x, a.q + g * kGroup, a.d + g, a.s + g);
  }
}

// The second pass finds the row in cache, and its groups go from registers to int8.
void rmsnormQuantizeAvx2(const RmsNormQuantizeArgs& a, int r0, int r1) {
  for (int r = r0; r < r1; ++r) {
    const size_t row = static_cast<size_t>(r) * static_cast<size_t>(a.M);
    const __m256 scale = normScale(a.x + row, a.M, a.epsilon);
    for (int i = 0; i < a.M; i += kGroup) {
      const size_t at = row + static_cast<size_t>(i);
      Group8x4 normed;
      for (int p = 0; p < 4; ++p) {
        const __m256 v = _mm256_mul_ps(_mm256_loadu_ps(a.x + at + 8 * p), scale);
        normed.v[p] = _mm256_mul_ps(v, _mm256_loadu_ps(a.weight + i + 8 * p));
        if (a.y != nullptr) _mm256_storeu_ps(a.y + at + 8 * p, normed.v[p]);
      }
      quantizeGroup(normed, a.q + at, a.d + at / kGroup, a.s + at / kGroup);
    }
  }
}

void toBf16Avx2(const ToBf16Args& a, int r0, int r1) {
  const auto K = static_cast<size_t>(a.K);
  for (size_t i = static_cast<size_t>(r0) * K; i < static_cast<size_t>(r1) * K; i += 8) {
    storeBf16(a.out + i, _mm256_loadu_ps(a.x + i));
  }
}

void ropeAvx2(const RopeArgs& a, int r0, int r1) {
  for (int r = r0; r < r1; ++r) {
    const int p = a.positions[r];
    const size_t row = static_cast<size_t>(p < 0 ? -p : p) * static_cast<size_t>(a.D / 2);
    const __m256 sign = p < 0 ? _mm256_set1_ps(-0.0f) : _mm256_setzero_ps();
    for (int h = 0; h < a.heads; ++h) {
      const float* x = a.x + static_cast<size_t>(r) * static_cast<size_t>(a.ldx) + h * a.D;
      float* out = a.out + static_cast<size_t>(r) * static_cast<size_t>(a.ldo) + h * a.D;
      if (a.pairing == RopePairing::kAdjacent) {
        ropeAdjacent(x, out, a.cos + row, a.sin + row, a.D, sign);
      } else {
        ropeHalves(x, out, a.cos + row, a.sin + row, a.D, sign);
      }
    }
  }
}

void kvStoreAvx2(const KvStoreArgs& a, int r0, int r1) {
  switch (a.kv) {
    case KvType::kF32:
      kvStore<KvType::kF32>(a, r0, r1);
      break;
    case KvType::kF16:
      kvStore<KvType::kF16>(a, r0, r1);
      break;
    case KvType::kBF16:
      kvStore<KvType::kBF16>(a, r0, r1);
      break;
    case KvType::kInt8:
      kvStoreInt8(a, r0, r1);
      break;
  }
}

void swigluAvx2(const GluArgs& a, int r0, int r1) {
  glu<false>(a, r0, r1);
}

void gegluAvx2(const GluArgs& a, int r0, int r1) {
  glu<true>(a, r0, r1);
}

}  // namespace baton
