// SPDX-License-Identifier: Apache-2.0
// The integers of quantised weights with AVX2, a group of 32 at a time, and their scales. Layouts:
// quant/blocks.h. All static: included by instruction-set files only.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/dtype.h"
#include "kernels/linear/types.h"
#include "quant/k_groups.h"

namespace baton {

static inline float scaleOf(const std::byte* at) {
  uint16_t half;
  std::memcpy(&half, at, 2);
  return _cvtsh_ss(half);
}

static inline __m256i loadBytes(const uint8_t* at) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}

// 16 bytes of nibbles to 32 bytes: the low ones, then the high ones.
static inline __m256i splitNibbles(const uint8_t* at) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  const __m256i twice = _mm256_broadcastsi128_si256(bytes);
  const __m256i shifted = _mm256_srlv_epi64(twice, _mm256_set_epi64x(4, 4, 0, 0));
  return _mm256_and_si256(shifted, _mm256_set1_epi8(15));
}

// 32 bits to 32 bytes of 0 or 16.
static inline __m256i fifthBits(const uint8_t* at) {
  int32_t bits;
  std::memcpy(&bits, at, 4);
  const __m256i spread = _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202,
                                           0x0101010101010101, 0x0000000000000000);
  const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
  const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), spread);
  const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
  return _mm256_and_si256(set, _mm256_set1_epi8(16));
}

// Bits of each byte moved up by `places`, or down where negative, and masked: what crosses into a
// neighbouring byte must be masked out.
static inline __m256i movedBits(__m256i bytes, int places, int mask) {
  const __m256i moved =
      places >= 0 ? _mm256_slli_epi16(bytes, places) : _mm256_srli_epi16(bytes, -places);
  return _mm256_and_si256(moved, _mm256_set1_epi8(static_cast<char>(mask)));
}

// The 32 quants of group g of a block in bytes: around zero where isSigned(type), else from 0.
template <DType type>
static inline __m256i loadQuants(const std::byte* block, int g) {
  if constexpr (type == DType::kQ8_0) {
    const auto* b = reinterpret_cast<const BlockQ8_0*>(block);
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b->q));
  } else if constexpr (type == DType::kQ4_0) {
    return splitNibbles(reinterpret_cast<const BlockQ4_0*>(block)->q);
  } else if constexpr (type == DType::kQ4_1) {
    return splitNibbles(reinterpret_cast<const BlockQ4_1*>(block)->q);
  } else if constexpr (type == DType::kQ5_0) {
    const auto* b = reinterpret_cast<const BlockQ5_0*>(block);
    return _mm256_or_si256(splitNibbles(b->q), fifthBits(b->high));
  } else if constexpr (type == DType::kQ5_1) {
    const auto* b = reinterpret_cast<const BlockQ5_1*>(block);
    return _mm256_or_si256(splitNibbles(b->q), fifthBits(b->high));
  } else if constexpr (type == DType::kQ4_K) {
    const auto* b = reinterpret_cast<const BlockQ4_K*>(block);
    return movedBits(loadBytes(b->q + g / 2 * 32), -4 * (g % 2), 15);
  } else if constexpr (type == DType::kQ5_K) {
    const auto* b = reinterpret_cast<const BlockQ5_K*>(block);
    const __m256i low = movedBits(loadBytes(b->q + g / 2 * 32), -4 * (g % 2), 15);
    return _mm256_or_si256(low, movedBits(loadBytes(b->high), 4 - g, 16));
  } else {
    static_assert(type == DType::kQ6_K);
    const auto* b = reinterpret_cast<const BlockQ6_K*>(block);
    const int half = g / 4, part = g % 4;
    const __m256i bytes = loadBytes(b->low + 64 * half + 32 * (part % 2));
    const __m256i low = movedBits(bytes, -4 * (part / 2), 15);
    const __m256i high = movedBits(loadBytes(b->high + 32 * half), 4 - 2 * part, 0x30);
    return _mm256_sub_epi8(_mm256_or_si256(low, high), _mm256_set1_epi8(32));
  }
}

// Of one group: a scale for each section of 16, and an offset.
struct GroupScales {
  float d[2];
  float c;
};

template <DType type>
static inline GroupScales loadGroupScales(const std::byte* block, int g) {
  if constexpr (type == DType::kQ4_K || type == DType::kQ5_K) {
    const KGroup group = kGroupOf(reinterpret_cast<const uint8_t*>(block) + 4, g);
    const float d = scaleOf(block) * static_cast<float>(group.scale);
    return {{d, d}, -scaleOf(block + 2) * static_cast<float>(group.min)};
  } else if constexpr (type == DType::kQ6_K) {
    const auto* b = reinterpret_cast<const BlockQ6_K*>(block);
    const float d = scaleOf(block + offsetof(BlockQ6_K, d));
    return {
        {d * static_cast<float>(b->scales[2 * g]), d * static_cast<float>(b->scales[2 * g + 1])},
        0};
  } else {
    const float d = scaleOf(block);
    return {{d, d}, storesOffset(type) ? scaleOf(block + 2) : -centre(type) * d};
  }
}

}  // namespace baton
