// SPDX-License-Identifier: Apache-2.0
// Backward of attention (kernels/attend/dattend.h) for some queries and one block of the pool at a
// time, by one block of threads in float32: K, V, queries and their dout stand in shared memory,
// half of the threads make scores and half of them dout . V, and what becomes of both goes through
// shared memory to threads that each have some columns of the sums.
#pragma once

#include "cuda/attend.cuh"
#include "kernels/attend/dattend.h"

namespace baton::cuda {

template <int kDim>
struct DAttendShape {
  static constexpr int kQueries = kDim > 128 ? 4 : 16;  // at a time, by shared memory
  static constexpr int kEach = kQueries / 4;            // scores of a thread
  static constexpr int kColumnThreads = kDim < kAttendThreads ? kDim : kAttendThreads;
  static constexpr int kColumns = kDim / kColumnThreads;  // of a thread
  static constexpr int kGroups = kAttendThreads / kColumnThreads;
};

// From a number t of K or V to the next, all rows of the block side by side: lanes that have
// consecutive t meet in no bank.
inline constexpr int kWideStride = kBlockRows + 1;
// From a query to the next: two of them are read at once, by four numbers.
__device__ constexpr int queryStride(int D) {
  return D + 4;
}

// Floats of shared memory.
template <int kDim>
constexpr size_t dAttendFloats(int D) {
  constexpr int kQueries = DAttendShape<kDim>::kQueries;
  return static_cast<size_t>(2 * kQueries * queryStride(D) + 2 * D * kWideStride +
                             2 * kQueries * kBlockRows);
}

template <KvType kKv>
__device__ inline float rowScale(const std::byte* base, int D, int row) {
  if constexpr (kKv != KvType::kInt8) return 1.0f;
  return wideHalf(
      reinterpret_cast<const uint16_t*>(base + static_cast<size_t>(D) * kBlockRows)[row]);
}

// Numbers of one block, their rows' scales applied, which is exact. Rows that nobody reads become
// 0, because 0 times what they hold may be NaN.
template <KvType kKv>
__device__ inline void widenKeys(const std::byte* key, int D, RowRange any, float* to) {
  constexpr int kNumbers = Vector<kKv>::kNumbers, kLanes = kBlockRows / kNumbers;
  const auto* vectors = reinterpret_cast<const uint4*>(key);
  BATON_UNROLL_BY(1)
  for (int at = static_cast<int>(threadIdx.x); at < D * kLanes; at += kAttendThreads) {
    const uint4 vector = vectors[at];
    BATON_UNROLL
    for (int n = 0; n < kNumbers; ++n) {
      const int row = at % kLanes * kNumbers + n;
      to[at / kLanes * kWideStride + row] =
          row >= any.first && row < any.end
              ? Vector<kKv>::at(vector, n) * rowScale<kKv>(key, D, row)
              : 0.0f;
    }
  }
}

template <KvType kKv>
__device__ inline void widenValues(const std::byte* value, int D, RowRange any, float* to) {
  constexpr int kNumbers = Vector<kKv>::kNumbers;
  const auto* vectors = reinterpret_cast<const uint4*>(value);
  const int lanes = D / kNumbers;
  BATON_UNROLL_BY(1)
  for (int at = static_cast<int>(threadIdx.x); at < kBlockRows * lanes; at += kAttendThreads) {
    const int row = at / lanes;
    const bool read = row >= any.first && row < any.end;
    const uint4 vector = vectors[at];
    const float scale = rowScale<kKv>(value, D, row);
    BATON_UNROLL
    for (int n = 0; n < kNumbers; ++n) {
      to[(at % lanes * kNumbers + n) * kWideStride + row] =
          read ? Vector<kKv>::at(vector, n) * scale : 0.0f;
    }
  }
}

// `Source`: const float* query(int i), * dout(int i), both null beyond the last query;
// float lse(int i), delta(int i).
template <KvType kKv, int kDim>
struct DAttender {
  using Shape = DAttendShape<kDim>;
  static constexpr int kQueries = Shape::kQueries;

  const int D;
  const float scale;
  float* const shared;  // dAttendFloats<kDim>(D)

  __device__ float* queries() const { return shared; }
  __device__ float* douts() const { return shared + kQueries * queryStride(D); }
  __device__ float* keys() const { return douts() + kQueries * queryStride(D); }
  __device__ float* values() const { return keys() + D * kWideStride; }
  // Of query i and row j at i * 16 + j: scores, then p; dout . V, then ds.
  __device__ float* weights() const { return values() + D * kWideStride; }
  __device__ float* slopes() const { return weights() + kQueries * kBlockRows; }

  // The column of a thread, beyond D where it has none, and the part of queries or rows that it
  // adds up for.
  __device__ static int column(int c) {
    return static_cast<int>(threadIdx.x) % Shape::kColumnThreads + c * Shape::kColumnThreads;
  }
  __device__ static int group() { return static_cast<int>(threadIdx.x) / Shape::kColumnThreads; }

  // Queries first .. of the source; what is not there is 0.
  template <class Source>
  __device__ void loadQueries(const Source& source, int first) const {
    BATON_UNROLL_BY(1)
    for (int i = static_cast<int>(threadIdx.x) / kWarp; i < kQueries; i += kAttendWarps) {
      const float *q = source.query(first + i), *dout = source.dout(first + i);
      for (int t = static_cast<int>(threadIdx.x) % kWarp; t < D; t += kWarp) {
        queries()[i * queryStride(D) + t] = q == nullptr ? 0.0f : q[t];
        douts()[i * queryStride(D) + t] = q == nullptr ? 0.0f : dout[t];
      }
    }
  }

  __device__ void loadBlock(const std::byte* key, const std::byte* value, RowRange any) const {
    widenKeys<kKv>(key, D, any, keys());
    widenValues<kKv>(value, D, any, values());
  }

  // p and ds of all queries, from `first` of the source on, and rows: range(i) of query i. All
  // threads call it; what is loaded must be there for all of them, and is p and ds afterwards.
  template <class Source, class Range>
  __device__ void weigh(const Source& source, int first, const Range& range) const {
    constexpr int kHalf = kAttendThreads / 2;
    const int half = static_cast<int>(threadIdx.x) / kHalf;
    const int j = static_cast<int>(threadIdx.x) % kBlockRows;
    const int i0 = static_cast<int>(threadIdx.x) % kHalf / kBlockRows;
    const float* rows = half == 0 ? queries() : douts();
    const float* block = half == 0 ? keys() : values();
    float sum[Shape::kEach] = {};
    BATON_UNROLL_BY(1)
    for (int t = 0; t < D; t += 4) {
      float x[4];
      BATON_UNROLL
      for (int n = 0; n < 4; ++n) x[n] = block[(t + n) * kWideStride + j];
      BATON_UNROLL
      for (int e = 0; e < Shape::kEach; ++e) {
        const float4 y = *reinterpret_cast<const float4*>(rows + (i0 + 4 * e) * queryStride(D) + t);
        sum[e] = fmaf(y.x, x[0], sum[e]);
        sum[e] = fmaf(y.y, x[1], sum[e]);
        sum[e] = fmaf(y.z, x[2], sum[e]);
        sum[e] = fmaf(y.w, x[3], sum[e]);
      }
    }
    float* to = half == 0 ? weights() : slopes();
    BATON_UNROLL
    for (int e = 0; e < Shape::kEach; ++e) to[(i0 + 4 * e) * kBlockRows + j] = sum[e];
    __syncthreads();
    BATON_UNROLL_BY(1)
    for (int at = static_cast<int>(threadIdx.x); at < kQueries * kBlockRows; at += kAttendThreads) {
      const int i = at / kBlockRows, row = at % kBlockRows;
      const RowRange of = range(i);
      float p = 0, ds = 0;
      if (row >= of.first && row < of.end) {
        p = expf(scale * weights()[at] - source.lse(first + i));
        ds = p * (slopes()[at] - source.delta(first + i)) * scale;
      }
      weights()[at] = p;
      slopes()[at] = ds;
    }
    __syncthreads();
  }
};

// Queries of an item or of a use for one kv head: rows behind one another, heads of the group of a
// row side by side.
template <class Args, class Rows>
struct BatchQueries {
  const Args& a;
  const Rows rows;  // queryRow, rows, batchRow
  const int kvHead;

  __device__ int group() const { return a.H / a.G; }
  __device__ int count() const { return rows.rows * group(); }
  __device__ size_t headAt(int row, int i) const {
    return static_cast<size_t>(row + i / group()) * static_cast<size_t>(a.H) +
           static_cast<size_t>(kvHead * group() + i % group());
  }
  __device__ const float* query(int i) const {
    return i < count() ? a.q + headAt(rows.queryRow, i) * static_cast<size_t>(a.D) : nullptr;
  }
  __device__ const float* dout(int i) const {
    return i < count() ? a.dout + headAt(rows.batchRow, i) * static_cast<size_t>(a.D) : nullptr;
  }
  __device__ float lse(int i) const { return a.lse[headAt(rows.batchRow, i)]; }
  __device__ float delta(int i) const { return a.delta[headAt(rows.batchRow, i)]; }

  // Rows of the slot that query i reads.
  __device__ RowRange range(const KvSlot& slot, int i) const {
    if (i >= count()) return {0, 0};
    return within(slot, i / group(), i / group());
  }
  // Those that any of `most` queries from `first` on read.
  __device__ RowRange anyRange(const KvSlot& slot, int first, int most) const {
    const int last = (first + most < count() ? first + most : count()) - 1;
    if (last < first) return {0, 0};
    return within(slot, first / group(), last / group());
  }
  // Those that a row from `low` to `high` reads.
  __device__ RowRange within(const KvSlot& slot, int low, int high) const {
    const int own = rows.position + high - slot.position;  // where the last one's own row would be
    int end = slot.rows;
    if (slot.causal != 0) end = own + 1 < end ? own + 1 : end;
    const int begin = rows.position + low - slot.position - a.window + 1;
    return {a.window != 0 && begin > 0 ? begin : 0, end};
  }
  __device__ size_t offset(const KvSlot& slot) const {
    return static_cast<size_t>(kvHead) * a.headStride +
           static_cast<size_t>(slot.block) * a.blockStride;
  }
};

// Queries of a call of the table (dattend.h).
struct CallQueries {
  const DAttendArgs& a;

  __device__ const float* query(int i) const { return i < a.Q ? a.q[i] : nullptr; }
  __device__ const float* dout(int i) const { return i < a.Q ? a.dout[i] : nullptr; }
  __device__ float lse(int i) const { return a.lse[i]; }
  __device__ float delta(int i) const { return a.delta[i]; }
  __device__ RowRange range(int slot, int i) const {
    if (i >= a.Q) return {0, 0};
    const int first = (a.first == nullptr ? 0 : a.first[i]) - slot * kBlockRows;
    const int end = a.visible[i] - slot * kBlockRows;
    return {first > 0 ? first : 0, end < kBlockRows ? end : kBlockRows};
  }
  __device__ RowRange anyRange(int slot, int first, int most) const {
    RowRange any = {kBlockRows, 0};
    for (int i = first; i < first + most; ++i) {
      const RowRange one = range(slot, i);
      if (one.first >= one.end) continue;
      any.first = one.first < any.first ? one.first : any.first;
      any.end = one.end > any.end ? one.end : any.end;
    }
    return any;
  }
  // Blocks up to the last row that any query reads; the list of blocks may end there.
  __device__ int slots() const {
    int rows = 0;
    for (int i = 0; i < a.Q; ++i) rows = a.visible[i] > rows ? a.visible[i] : rows;
    return (rows + kBlockRows - 1) / kBlockRows;
  }
  __device__ size_t offset(int slot) const {
    return static_cast<size_t>(a.blocks[slot]) * a.blockStride;
  }
};

}  // namespace baton::cuda
