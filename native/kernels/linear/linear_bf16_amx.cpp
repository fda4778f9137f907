// SPDX-License-Identifier: Apache-2.0
// bf16 arithmetic with the tiles of AMX. A product of tiles adds 32 k to sixteen times sixteen
// sums: of each its sixteen even k and its sixteen odd k from zero on, in ascending order, then
// both to the sum. The order is the same for every sum, and multiplication commutes, so that a row
// has the same bits whichever operand it stands in and whatever stands beside it. That is why few
// rows are the work of tiles here, too: no other instruction adds in that order.
//
// The left operand is read as rows lie in memory, the right one wants the pairs of k of sixteen
// rows side by side. With few rows of x that is x, and W is read from the file as it is; with many
// it is W, packed into scratch.
#include "kernels/linear/store_avx512.h"
#include "kernels/linear/tiles_amx.h"
#include "kernels/unroll.h"
#include "kernels/variants.h"

namespace baton {
namespace {

constexpr int kColumns = 16;  // of a tile
constexpr size_t kStep = kGroup * sizeof(uint16_t);
constexpr size_t kPackedStep = kColumns * kStep;  // 32 k of sixteen rows
// Of the rows of x that stay in the second level of cache while all columns meet them; not measured
// here.
constexpr size_t kBlockBytes = size_t{1} << 20;

// Tile registers. Numbers are parts of instructions, hence macros.
#define BATON_SUM 0  // of rows 0 and columns 0; then columns 1, rows 1, both
#define BATON_SUM_01 1
#define BATON_SUM_10 2
#define BATON_SUM_11 3
#define BATON_LEFT 4
#define BATON_LEFT_1 5
#define BATON_RIGHT 6
#define BATON_RIGHT_1 7

using Sums = float[kTileRows][kColumns];

inline size_t bytesOfRow(const LinearArgs& a) {
  return static_cast<size_t>(a.K) * sizeof(uint16_t);
}

// Sixteen rows of sixteen words become columns.
inline void transpose(__m512i* row) {
  __m512i pairs[16], fours[16];
  BATON_UNROLL
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
  }
  BATON_UNROLL
  for (int i = 0; i < 16; i += 4) {
    fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
    fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
    fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
  // Quarter q of fours[4 i + j] is column 4 q + j of rows 4 i to 4 i + 3.
  BATON_UNROLL
  for (int j = 0; j < 4; ++j) {
    const __m512i even = _mm512_shuffle_i32x4(fours[j], fours[4 + j], 0x88);
    const __m512i evenHigh = _mm512_shuffle_i32x4(fours[8 + j], fours[12 + j], 0x88);
    const __m512i odd = _mm512_shuffle_i32x4(fours[j], fours[4 + j], 0xdd);
    const __m512i oddHigh = _mm512_shuffle_i32x4(fours[8 + j], fours[12 + j], 0xdd);
    row[j] = _mm512_shuffle_i32x4(even, evenHigh, 0x88);
    row[4 + j] = _mm512_shuffle_i32x4(odd, oddHigh, 0x88);
    row[8 + j] = _mm512_shuffle_i32x4(even, evenHigh, 0xdd);
    row[12 + j] = _mm512_shuffle_i32x4(odd, oddHigh, 0xdd);
  }
}

// `count` rows [K] of bfloat16 to [K / 2][16] pairs, of rows that are not there zeros.
void packPairs(const std::byte* from, size_t rowBytes, int count, std::byte* to) {
  for (size_t at = 0; at < rowBytes; at += kStep, to += kPackedStep) {
    __m512i row[16];
    BATON_UNROLL
    for (int i = 0; i < 16; ++i) {
      row[i] = i < count ? _mm512_loadu_si512(from + static_cast<size_t>(i) * rowBytes + at)
                         : _mm512_setzero_si512();
    }
    transpose(row);
    BATON_UNROLL
    for (int i = 0; i < 16; ++i) _mm512_store_si512(to + static_cast<size_t>(i) * 64, row[i]);
  }
}

// ---- few rows: W times x

// Sums of W[n .. n + 16, :] with the right operand, of which a row has `stride` bytes.
inline void weightTile(const std::byte* w, size_t rowBytes, const std::byte* x, size_t stride,
                       size_t xStep, float* sums) {
  writeMemory();
  _tile_zero(BATON_SUM);
  for (size_t at = 0; at < rowBytes; at += kStep, x += xStep) {
    // The columns after these, which is where W goes on in memory.
    for (size_t i = 0; i < 16; ++i) {
      _mm_prefetch(reinterpret_cast<const char*>(w) + (16 + i) * rowBytes + at, _MM_HINT_T1);
    }
    _tile_loadd(BATON_LEFT, w + at, static_cast<int64_t>(rowBytes));
    _tile_loadd(BATON_RIGHT, x, static_cast<int64_t>(stride));
    _tile_dpbf16ps(BATON_SUM, BATON_LEFT, BATON_RIGHT);
  }
  _tile_stored(BATON_SUM, sums, sizeof(Sums) / kTileRows);
  writeMemory();
}

void fewRows(const LinearArgs& a, int n0, int n1, std::byte* scratch) {
  const size_t rowBytes = bytesOfRow(a);
  const int width = a.N < kTileRows ? a.N : kTileRows;
  TileShapes shapes;
  shapes.set(BATON_SUM, width, 4 * a.R);
  shapes.set(BATON_LEFT, width, static_cast<int>(kStep));
  shapes.set(BATON_RIGHT, kGroup / 2, 4 * a.R);
  writeMemory();
  _tile_loadconfig(&shapes);
  const auto* x = reinterpret_cast<const std::byte*>(a.xb);
  const bool alone = a.R == 1;  // the pairs of one row lie as they should
  if (!alone) packPairs(x, rowBytes, a.R, scratch);
  alignas(64) Sums sums = {};
  for (int n = n0; n < n1; n += kColumns) {
    // Near the end of W the tile begins earlier.
    const int first = n < a.N - width ? n : a.N - width;
    const std::byte* w =
        static_cast<const std::byte*>(a.weight) + static_cast<size_t>(first) * rowBytes;
    if (alone) {
      weightTile(w, rowBytes, x, 4, kStep, sums[0]);
    } else {
      weightTile(w, rowBytes, scratch, 64, kPackedStep, sums[0]);
    }
    __m512i rows[16];
    BATON_UNROLL
    for (int i = 0; i < 16; ++i) rows[i] = _mm512_load_si512(sums[i]);
    transpose(rows);
    BATON_UNROLL
    for (int i = 0; i < 16; ++i) _mm512_store_si512(sums[i], rows[i]);
    for (int r = 0; r < a.R; ++r) {
      float* y = a.y + static_cast<size_t>(r) * static_cast<size_t>(a.ldy) + n;
      alignas(64) float wanted[2 * kColumns] = {};
      _mm512_store_ps(wanted, _mm512_load_ps(sums[r]));
      storeRow512(y, _mm512_loadu_ps(wanted + (n - first)), n1 - n, a.accumulate);
    }
  }
}

// ---- many rows: x times W

// A tile of sixteen rows from `row` on, of which the first `done` have been computed.
struct Rows {
  int row, done;
};

void storeSums(const LinearArgs& a, const Rows& rows, int n, int columns, const Sums& sums) {
  for (int i = rows.done; i < kTileRows; ++i) {
    float* y = a.y + static_cast<size_t>(rows.row + i) * static_cast<size_t>(a.ldy) + n;
    storeRow512(y, _mm512_load_ps(sums[i]), columns, a.accumulate);
  }
}

// One or two tiles of rows with one or two panels of sixteen columns from n on, packed.
template <int tiles, int panels>
void tile(const LinearArgs& a, const Rows* rows, int n, int columns, const std::byte* packed) {
  const size_t rowBytes = bytesOfRow(a);
  const auto* all = reinterpret_cast<const std::byte*>(a.xb);
  const std::byte* x = all + static_cast<size_t>(rows[0].row) * rowBytes;
  const std::byte* x1 = all + static_cast<size_t>(rows[tiles - 1].row) * rowBytes;
  const std::byte* packed1 = packed + rowBytes * kColumns;
  const auto stride = static_cast<int64_t>(rowBytes);
  writeMemory();
  _tile_zero(BATON_SUM);
  if constexpr (panels == 2) _tile_zero(BATON_SUM_01);
  if constexpr (tiles == 2) _tile_zero(BATON_SUM_10);
  if constexpr (tiles == 2 && panels == 2) _tile_zero(BATON_SUM_11);
  for (size_t at = 0; at < rowBytes; at += kStep) {
    _tile_loadd(BATON_RIGHT, packed + at * kColumns, 64);
    _tile_loadd(BATON_LEFT, x + at, stride);
    _tile_dpbf16ps(BATON_SUM, BATON_LEFT, BATON_RIGHT);
    if constexpr (panels == 2) {
      _tile_loadd(BATON_RIGHT_1, packed1 + at * kColumns, 64);
      _tile_dpbf16ps(BATON_SUM_01, BATON_LEFT, BATON_RIGHT_1);
    }
    if constexpr (tiles == 2) {
      _tile_loadd(BATON_LEFT_1, x1 + at, stride);
      _tile_dpbf16ps(BATON_SUM_10, BATON_LEFT_1, BATON_RIGHT);
    }
    if constexpr (tiles == 2 && panels == 2) {
      _tile_dpbf16ps(BATON_SUM_11, BATON_LEFT_1, BATON_RIGHT_1);
    }
  }
  alignas(64) Sums sums[2][2];
  _tile_stored(BATON_SUM, sums[0][0], 64);
  if constexpr (panels == 2) _tile_stored(BATON_SUM_01, sums[0][1], 64);
  if constexpr (tiles == 2) _tile_stored(BATON_SUM_10, sums[1][0], 64);
  if constexpr (tiles == 2 && panels == 2) _tile_stored(BATON_SUM_11, sums[1][1], 64);
  writeMemory();
  for (int i = 0; i < tiles; ++i) {
    for (int p = 0; p < panels; ++p) {
      storeSums(a, rows[i], n + p * kColumns, columns - p * kColumns, sums[i][p]);
    }
  }
}

// Rows [r0, r1) of x, which begin sixteen rows before r1 or earlier, with the packed panels. What
// is left is the end of a tile that begins earlier.
template <int panels>
void rowTiles(const LinearArgs& a, int r0, int r1, int n, int columns, const std::byte* packed) {
  const auto from = [&](int r) {
    const int row = r < r1 - kTileRows ? r : r1 - kTileRows;
    return Rows{row, r - row};
  };
  int r = r0;
  for (; r + kTileRows < r1; r += 2 * kTileRows) {
    const Rows rows[2] = {from(r), from(r + kTileRows)};
    tile<2, panels>(a, rows, n, columns, packed);
  }
  if (r >= r1) return;
  const Rows rows = from(r);
  tile<1, panels>(a, &rows, n, columns, packed);
}

void manyRows(const LinearArgs& a, int n0, int n1, std::byte* scratch) {
  const TileShapes shapes = TileShapes::whole();
  writeMemory();
  _tile_loadconfig(&shapes);
  const size_t rowBytes = bytesOfRow(a);
  const int most = static_cast<int>(kBlockBytes / rowBytes);
  const int block = most < 2 * kTileRows ? 2 * kTileRows : most / (2 * kTileRows) * 2 * kTileRows;
  for (int r0 = 0; r0 < a.R; r0 += block) {
    const int r1 = a.R - r0 < block ? a.R : r0 + block;
    for (int n = n0; n < n1; n += 2 * kColumns) {
      const std::byte* w =
          static_cast<const std::byte*>(a.weight) + static_cast<size_t>(n) * rowBytes;
      const int columns = n1 - n;
      packPairs(w, rowBytes, columns, scratch);
      if (columns <= kColumns) {
        rowTiles<1>(a, r0, r1, n, columns, scratch);
      } else {
        packPairs(w + kColumns * rowBytes, rowBytes, columns - kColumns,
                  scratch + rowBytes * kColumns);
        rowTiles<2>(a, r0, r1, n, columns, scratch);
      }
    }
  }
}

}  // namespace

void linearBf16Amx(const LinearArgs& a, int n0, int n1, void* scratch) {
  if (a.R < kTileRows) {
    fewRows(a, n0, n1, static_cast<std::byte*>(scratch));
  } else {
    manyRows(a, n0, n1, static_cast<std::byte*>(scratch));
  }
  _tile_release();
}

}  // namespace baton
