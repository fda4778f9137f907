// SPDX-License-Identifier: Apache-2.0
// Where things are when a warp multiplies by tensor cores: which number of a matrix a lane holds
// (the fragments of PTX's mma.m16n8k16 and m16n8k32), and where a row of a tile lies in shared
// memory. All of it constant expressions, which tests go through number by number.
#pragma once

#include "cuda/launch.cuh"

namespace baton::cuda {

// One number of a matrix.
struct Cell {
  int row, column;
};

// Sums c [16, 8]: number i of the four of a lane.
constexpr Cell sumCell(int lane, int i) {
  return {lane / 4 + 8 * (i / 2), 2 * (lane % 4) + i % 2};
}

// Left a [16, k]: the first of the numbers in register r; they follow one another along k. kEach: 2
// of 16 bits, 4 bytes.
template <int kEach>
constexpr Cell leftCell(int lane, int r) {
  return {lane / 4 + 8 * (r % 2), kEach * (lane % 4) + 4 * kEach * (r / 2)};
}

// Right b [k, 8]: the same.
template <int kEach>
constexpr Cell rightCell(int lane, int r) {
  return {kEach * (lane % 4) + 4 * kEach * r, lane / 4};
}

// A tile in shared memory is rows of chunks: 16 bytes, of which the memory gives eight at once if
// no two are a multiple of 128 bytes apart. So chunks of a row change places with its number, and
// eight rows of one column of chunks, as ldmatrix reads, lie as well as eight chunks of one row.
inline constexpr int kChunkBytes = 16;

// In bytes, from the first of the tile, whose rows have kChunks: 2, 4 or a multiple of 8.
template <int kChunks>
constexpr int chunkOffset(int row, int chunk) {
  constexpr int kRows = kChunks < 8 ? 8 / kChunks : 1;  // in 128 bytes
  constexpr int kPlaces = kChunks < 8 ? kChunks : 8;
  return (row * kChunks + (chunk ^ (row / kRows % kPlaces))) * kChunkBytes;
}

// Threads copy a tile chunk by chunk in order of rows: the i-th.
template <int kChunks>
constexpr Cell copiedChunk(int i) {
  return {i / kChunks, i % kChunks};
}

// What a lane brings to ldmatrix of four matrices that are 16 rows of 2 chunks: its registers are
// then rows 0 - 7 and 8 - 15 of the first chunk, and of the second. That is a left matrix; of a
// right one whose columns lie in rows, two of 8 columns, with registers 0 and 2 for the first. Of a
// right one that lies as it is, transposed on the way, two with registers 0 and 1 for the first.
constexpr Cell loadedChunk(int lane) {
  return {lane % 16, lane / 16};
}

}  // namespace baton::cuda
