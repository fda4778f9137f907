// SPDX-License-Identifier: Apache-2.0
// What attendBf16 of AVX-512 and of AMX share: a piece as pairs of bfloat16, and the softmax
// between the two products. A pair is what one 32-bit lane multiplies: of K two elements t of a
// row, of V two rows of an element. That is the right operand of vdpbf16ps and, sixteen lanes a
// row, of tdpbf16ps.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/math_avx512.h"
#include "kernels/unroll.h"
#include "kernels/variants.h"

namespace baton {
namespace {

constexpr float kMinusInfinity = -__builtin_inff();

struct Pairs {
  uint32_t* k;  // [blocks, D / 2, 16 rows]
  uint32_t* v;  // [rows / 2, D]
  uint32_t* q;  // [Q, D / 2]
};

inline Pairs pairsOf(const AttendArgs& a) {
  auto* memory = static_cast<uint32_t*>(a.pairs);
  const size_t piece = size_t{kPieceRows} / 2 * static_cast<size_t>(a.D);
  return {memory, memory + piece, memory + 2 * piece};
}

inline const std::byte* blockAt(const AttendArgs& a, const std::byte* base, int block) {
  return base + static_cast<size_t>(a.blocks[block]) * a.blockStride;
}

inline int firstOf(const AttendArgs& a, int query) {
  return a.first == nullptr ? 0 : a.first[query];
}

inline float* scoresOf(const AttendArgs& a, int query) {
  return a.scores + static_cast<size_t>(query) * kPieceRows;
}

struct Rows {
  int begin, end;
};

// What some query of [query, query + count) reads; {0, 0}: nothing.
inline Rows readBy(const AttendArgs& a, int query, int count) {
  Rows rows{kPieceRows, 0};
  for (int i = query; i < query + count; ++i) {
    if (firstOf(a, i) >= a.visible[i]) continue;
    rows.begin = firstOf(a, i) < rows.begin ? firstOf(a, i) : rows.begin;
    rows.end = a.visible[i] > rows.end ? a.visible[i] : rows.end;
  }
  return rows.begin < rows.end ? rows : Rows{0, 0};
}

// From a multiple of `granule` to the end of a block.
inline Rows whole(const Rows& rows, int granule) {
  return {rows.begin / granule * granule, (rows.end + kBlockRows - 1) / kBlockRows * kBlockRows};
}

// Lane i: low[i] and high[i], rounded.
inline __m512i interleaved(__m512 low, __m512 high) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

// t and t + 1 of the sixteen rows of a block of K.
template <KvType kv>
inline __m512i keyPairs(const std::byte* k, int t) {
  const __m512 low = loadKv<kv>(k, t * kBlockRows);
  return interleaved(low, loadKv<kv>(k, (t + 1) * kBlockRows));
}

// Line by line the same place of the next block of K and V: blocks lie apart, so that the processor
// does not see which comes next.
struct NextBlock {
  const std::byte* at;

  void prefetch(size_t offset) const {
    _mm_prefetch(reinterpret_cast<const char*>(at) + offset, _MM_HINT_T0);
  }
};

template <KvType kv>
void packKeys(const AttendArgs& a, const Pairs& pairs, int block, const NextBlock& next) {
  const std::byte* k = blockAt(a, a.k, block);
  uint32_t* to = pairs.k + static_cast<size_t>(block * a.D) * (kBlockRows / 2);
  constexpr size_t kStep = 2 * kBlockRows * kvTypeBytes(kv);  // of a pair of t
  for (int t = 0; t < a.D; t += 2, to += kBlockRows) {
    for (size_t line = 0; line < kStep; line += 64)
      next.prefetch(static_cast<size_t>(t / 2) * kStep + line);
    _mm512_store_si512(to, keyPairs<kv>(k, t));
  }
}

inline __mmask16 notFinite(__m512 x) {
  const __m512i exponent = _mm512_set1_epi32(0x7f800000);
  return _mm512_cmpeq_epi32_mask(_mm512_and_si512(_mm512_castps_si512(x), exponent), exponent);
}

// Elements t .. t + 15 of rows `slot` and the one after it of a block of V. Rows that nobody reads
// may hold anything and become 0. Lanes that hold Inf or NaN are noted in `bad`: times a weight of
// 0 they would not be 0.
template <KvType kv>
inline __m512i valuePairs(const std::byte* v, int D, int slot, int t, bool isLow, bool isHigh,
                          __mmask16& bad) {
  const int at = slot * D + t;
  const __m512 low = isLow ? loadKv<kv>(v, at) : _mm512_setzero_ps();
  const __m512 high = isHigh ? loadKv<kv>(v, at + D) : _mm512_setzero_ps();
  if constexpr (kv != KvType::kInt8) {
    bad = static_cast<__mmask16>(bad | notFinite(low) | notFinite(high));
  }
  return interleaved(low, high);
}

template <KvType kv>
__mmask16 packValues(const AttendArgs& a, const Pairs& pairs, int block, const Rows& read,
                     const NextBlock& next) {
  constexpr size_t kStep = 16 * kvTypeBytes(kv);
  const std::byte* v = blockAt(a, a.v, block);
  __mmask16 bad = 0;
  for (int slot = 0; slot < kBlockRows; slot += 2) {
    const int j = block * kBlockRows + slot;
    uint32_t* to = pairs.v + static_cast<size_t>(j / 2) * static_cast<size_t>(a.D);
    const bool isLow = j >= read.begin && j < read.end;
    const bool isHigh = j + 1 >= read.begin && j + 1 < read.end;
    for (int t = 0; t < a.D; t += 16) {
      const int at = slot * a.D + t;
      next.prefetch(static_cast<size_t>(at / 16) * kStep);
      next.prefetch(static_cast<size_t>((at + a.D) / 16) * kStep);
      _mm512_store_si512(to + t, valuePairs<kv>(v, a.D, slot, t, isLow, isHigh, bad));
    }
  }
  return bad;
}

inline void packQueries(const AttendArgs& a, const Pairs& pairs) {
  for (int i = 0; i < a.Q; ++i) {
    auto* to = reinterpret_cast<uint16_t*>(pairs.q + static_cast<size_t>(i * a.D) / 2);
    for (int t = 0; t < a.D; t += 16) {
      const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(a.q[i] + t));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + t), (__m256i)rounded);
    }
  }
}

// Queries, and what they read of K and V, from a multiple of `granule` rows on. False: a row of V
// holds Inf or NaN.
template <KvType kv>
bool pack(const AttendArgs& a, const Pairs& pairs, int granule) {
  const Rows read = readBy(a, 0, a.Q);
  const Rows all = whole(read, granule);
  __mmask16 bad = 0;
  for (int block = all.begin / kBlockRows; block < all.end / kBlockRows; ++block) {
    const int next = (block + 1) * kBlockRows < all.end ? block + 1 : block;
    packKeys<kv>(a, pairs, block, {blockAt(a, a.k, next)});
    bad = static_cast<__mmask16>(bad |
                                 packValues<kv>(a, pairs, block, read, {blockAt(a, a.v, next)}));
  }
  packQueries(a, pairs);
  return bad == 0;
}

// Lines of what comes next, K then V, one after another.
class Ahead {
 public:
  explicit Ahead(const AttendArgs& a)
      : next_(a.next), stride_(a.blockStride), bytes_(kvHeadBytes(a.kv, a.D)), base_(a.next.k) {}

  void step() {
    if (block_ >= next_.count) return;
    const auto block = static_cast<size_t>(next_.blocks[block_]);
    _mm_prefetch(reinterpret_cast<const char*>(base_ + block * stride_ + at_), _MM_HINT_T1);
    at_ += 64;
    if (at_ < bytes_) return;
    at_ = 0;
    if (++block_ < next_.count || base_ == next_.v) return;
    block_ = 0;
    base_ = next_.v;
  }

 private:
  const AttendNext& next_;
  size_t stride_, bytes_, at_ = 0;
  const std::byte* base_;
  int block_ = 0;
};

// 2^y for y <= 0 to 3e-6 of it, by 2^(n + f), |f| <= 1/2, and six terms of the series of 2^f: what
// follows rounds to 2^-8. At -inf 0; NaN stays.
inline __m512 roughExp2(__m512 y) {
  y = _mm512_max_ps(_mm512_set1_ps(-200.0f), y);
  const __m512 n = _mm512_roundscale_ps(y, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(y, n);
  __m512 p = _mm512_set1_ps(1.33335581e-3f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.61812911e-3f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.55041087e-2f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.240226507f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.693147181f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}

inline void storeWeights(float* scores, int j, __m512 weights) {
  auto* to = reinterpret_cast<__m256i*>(reinterpret_cast<uint16_t*>(scores) + j);
  _mm256_storeu_si256(to, (__m256i)_mm512_cvtneps_pbh(weights));
}

// Scores of one query, without `scale`, to weights as bfloat16 at the front of its scores, and m
// and d. Of `rows`, those that the query does not read get 0.
template <KvType kv>
void softmaxToPairs(const AttendArgs& a, int query, const Rows& rows) {
  const int first = firstOf(a, query);
  const int visible = a.visible[query];
  const int begin = rows.begin, end = rows.end;
  float* s = scoresOf(a, query);
  a.m[query] = kMinusInfinity;
  a.d[query] = 0;
  if (first >= visible) {
    for (int j = begin; j < end; j += 16) storeWeights(s, j, _mm512_setzero_ps());
    return;
  }
  for (int j = begin; j < first; ++j) s[j] = kMinusInfinity;
  for (int j = visible; j < end; ++j) s[j] = kMinusInfinity;
  __m512 largest = _mm512_set1_ps(kMinusInfinity);
  for (int j = begin; j < end; j += 16) largest = _mm512_max_ps(largest, _mm512_load_ps(s + j));
  const float most = _mm512_reduce_max_ps(largest);
  const __m512 shift = _mm512_set1_ps(most);
  const __m512 scale = _mm512_set1_ps(a.scale * 1.44269504f);
  __m512 sum = _mm512_setzero_ps();
  for (int j = begin; j < end; j += 16) {
    __m512 e = roughExp2(_mm512_mul_ps(_mm512_sub_ps(_mm512_load_ps(s + j), shift), scale));
    sum = _mm512_add_ps(sum, e);
    if constexpr (kv == KvType::kInt8) {
      // The scale of a row that nobody wrote may be NaN.
      const __mmask16 read = _mm512_cmp_ps_mask(e, _mm512_setzero_ps(), _CMP_NEQ_UQ);
      e = _mm512_maskz_mul_ps(read, e, loadKvScales(blockAt(a, a.v, j / kBlockRows), a.D));
    }
    storeWeights(s, j, e);
  }
  a.m[query] = most * a.scale;
  a.d[query] = _mm512_reduce_add_ps(sum);
}

}  // namespace
}  // namespace baton
