// SPDX-License-Identifier: Apache-2.0
// bf16 arithmetic with vdpbf16ps, on W as the file has it. A lane sums the products of one pair of
// k of every 32, in ascending k; the sixteen lanes of a sum are added at the end, always in the
// same order, so that a row has the same bits in every tile.
#include <immintrin.h>

#include "kernels/unroll.h"
#include "kernels/variants.h"

namespace baton {
namespace {

constexpr int kRows = 6, kColumns = 4;  // of a tile: 24 sums of 32 registers
// Of the rows of x that stay in the second level of cache while all columns meet them; not measured
// here.
constexpr size_t kBlockBytes = size_t{512} << 10;

// Columns n, n + step, ...: so many, at most kColumns.
struct Columns {
  int n, step, count;
};

inline __m512bh load(const void* from) {
  return (__m512bh)_mm512_loadu_si512(from);
}

// What the lanes of each of four sums add up to.
inline __m128 totals(const __m512* sum) {
  const auto halves = [](__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  };
  const __m512 first = halves(sum[0], sum[1]), second = halves(sum[2], sum[3]);
  __m512 all = _mm512_add_ps(_mm512_shuffle_f32x4(first, second, 0x88),
                             _mm512_shuffle_f32x4(first, second, 0xdd));  // a quarter for each
  all = _mm512_add_ps(all, _mm512_permute_ps(all, 0x4e));
  all = _mm512_add_ps(all, _mm512_permute_ps(all, 0xb1));
  const __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  return _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, all));
}

template <int rows>
void tile(const LinearArgs& a, int r, const Columns& columns) {
  const auto K = static_cast<size_t>(a.K);
  const uint16_t* x = a.xb + static_cast<size_t>(r) * K;
  const auto* weight = static_cast<const std::byte*>(a.weight);
  const std::byte* w[kColumns];
  BATON_UNROLL
  for (int c = 0; c < kColumns; ++c) {  // the last one stands for those that are not there
    const int column = columns.n + (c < columns.count ? c : columns.count - 1) * columns.step;
    w[c] = weight + static_cast<size_t>(column) * K * sizeof(uint16_t);
  }
  __m512 sum[rows][kColumns];
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    BATON_UNROLL
    for (int c = 0; c < kColumns; ++c) sum[i][c] = _mm512_setzero_ps();
  }
  for (size_t k = 0; k < K; k += kGroup) {
    __m512bh wk[kColumns];
    BATON_UNROLL
    for (int c = 0; c < kColumns; ++c) wk[c] = load(w[c] + k * sizeof(uint16_t));
    BATON_UNROLL
    for (int i = 0; i < rows; ++i) {
      const __m512bh xk = load(x + static_cast<size_t>(i) * K + k);
      BATON_UNROLL
      for (int c = 0; c < kColumns; ++c) sum[i][c] = _mm512_dpbf16_ps(sum[i][c], xk, wk[c]);
    }
  }
  BATON_UNROLL
  for (int i = 0; i < rows; ++i) {
    float total[kColumns];
    _mm_storeu_ps(total, totals(sum[i]));
    float* y = a.y + static_cast<size_t>(r + i) * static_cast<size_t>(a.ldy) + columns.n;
    for (int c = 0; c < columns.count; ++c, y += columns.step) {
      *y = a.accumulate ? *y + total[c] : total[c];
    }
  }
}

// Rows [r, end), fewer than `rows` + 1.
template <int rows>
void lastTile(const LinearArgs& a, int r, int end, const Columns& columns) {
  if (end - r == rows) return tile<rows>(a, r, columns);
  if constexpr (rows > 1) lastTile<rows - 1>(a, r, end, columns);
}

// W is read once, as four streams, each of columns that follow one another.
void fewRows(const LinearArgs& a, int n0, int n1) {
  const int stream = (n1 - n0 + kColumns - 1) / kColumns;
  for (int i = 0; i < stream; ++i) {
    const int n = n0 + i;
    lastTile<kRows>(a, 0, a.R, {n, stream, (n1 - n + stream - 1) / stream});
  }
}

}  // namespace

void linearBf16Avx512(const LinearArgs& a, int n0, int n1, void*) {
  if (a.R <= kRows) return fewRows(a, n0, n1);
  const int most = static_cast<int>(kBlockBytes / (static_cast<size_t>(a.K) * sizeof(uint16_t)));
  const int block = most < kRows ? kRows : most / kRows * kRows;
  for (int r0 = 0; r0 < a.R; r0 += block) {
    const int end = a.R - r0 < block ? a.R : r0 + block;
    for (int n = n0; n < n1; n += kColumns) {
      const Columns columns{n, 1, n1 - n < kColumns ? n1 - n : kColumns};
      int r = r0;
      for (; r + kRows <= end; r += kRows) tile<kRows>(a, r, columns);
      lastTile<kRows - 1>(a, r, end, columns);
    }
  }
}

}  // namespace baton
