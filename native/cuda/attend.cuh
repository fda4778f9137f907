// SPDX-License-Identifier: Apache-2.0
// Attention of a few queries over blocks of the pool, by one block of threads. Each of its warps
// takes every fourth block of 16 rows, keeps a softmax state (attend.h) of its own, and the states
// are merged at the end.
//
// All reads of K and V are of 16 bytes and of whole rows of memory. K is stored transposed, so a
// vector holds one number of several rows: a lane sums those rows over its share of the numbers,
// and lanes then hand halves of their rows around until each has one row's score. Of V a vector
// holds several numbers of one row, which a lane sums over its share of the rows, and lanes add up
// once at the end.
#pragma once

#include "base/dtype.h"
#include "base/half.h"
#include "cuda/lanes.cuh"
#include "cuda/wide.cuh"

namespace baton::cuda {

inline constexpr int kAttendThreads = 128;
inline constexpr int kAttendWarps = kAttendThreads / kWarp;
inline constexpr float kNothing = -INFINITY;  // m of a state that has read no row

// Rows [first, end) of a slot; empty where first >= end.
struct RowRange {
  int first, end;
};

// The numbers of 16 bytes as they are stored, scales not applied.
template <KvType kKv>
struct Vector;
template <>
struct Vector<KvType::kF32> {
  static constexpr int kNumbers = 4;
  __device__ static float at(const uint4& v, int i) {
    return floatOfBits(i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w);
  }
};
template <>
struct Vector<KvType::kF16> {
  static constexpr int kNumbers = 8;
  __device__ static float at(const uint4& v, int i) {
    const unsigned word = i < 2 ? v.x : i < 4 ? v.y : i < 6 ? v.z : v.w;
    return wideHalf(static_cast<uint16_t>(i % 2 == 0 ? word : word >> 16));
  }
};
template <>
struct Vector<KvType::kBF16> {
  static constexpr int kNumbers = 8;
  __device__ static float at(const uint4& v, int i) {
    const unsigned word = i < 2 ? v.x : i < 4 ? v.y : i < 6 ? v.z : v.w;
    return floatOfBits(i % 2 == 0 ? word << 16 : word & 0xffff0000u);
  }
};
template <>
struct Vector<KvType::kInt8> {
  static constexpr int kNumbers = 16;
  __device__ static float at(const uint4& v, int i) {
    const unsigned word = i < 4 ? v.x : i < 8 ? v.y : i < 12 ? v.z : v.w;
    return static_cast<float>(static_cast<int8_t>(word >> (8 * (i % 4))));
  }
};

// Who reads what, for heads of at most kDim numbers.
template <KvType kKv, int kDim>
struct AttendShape {
  static constexpr int kNumbers = Vector<kKv>::kNumbers;
  static constexpr int kBytes = 16 / kNumbers;  // of a number
  // Of K: vectors of a block in order of memory, lane by lane.
  static constexpr int kKeyVectors = kDim * kBytes / kWarp;  // of a lane
  static constexpr int kRowLanes = kBlockRows / kNumbers;    // vectors of one t
  // Of V: the lanes of one row, and the rows read at once.
  static constexpr int kRowVectors = kDim / kNumbers;
  static constexpr int kValueLanes = kRowVectors < kWarp ? kRowVectors : kWarp;
  static constexpr int kColumns = kRowVectors / kValueLanes;  // vectors of a lane in a row
  static constexpr int kRowsAtOnce = kWarp / kValueLanes;

  // The row whose score a lane has in the end; two lanes have each.
  __device__ static constexpr int rowOf(int lane) {
    constexpr int kSteps = kNumbers == 4 ? 2 : kNumbers == 8 ? 3 : 4;
    return lane % kRowLanes * kNumbers + (lane >> (5 - kSteps));
  }
  // Whether it is the first of the two.
  __device__ static constexpr bool ownsRow(int lane) { return (lane / kRowLanes) % 2 == 0; }
};

// In shared memory: floats of a block of threads that attends kQ queries.
template <int kQ>
constexpr int attendFloats(int D) {
  return kQ * (D + kAttendWarps * (kBlockRows + D + 2));
}

// `Source`: what the queries are and what they read,
//   const float* query(int i)          null beyond the last of them
//   int slots()
//   RowRange range(int slot, int i)    of query i, within 0 .. 16
//   const std::byte* key(int slot), * value(int slot)
//   void store(int i, int t, float o, float m, float d)   for every i that there is and every t
template <KvType kKv, int kDim, int kQ, class Source>
struct Attender {
  using Shape = AttendShape<kKv, kDim>;
  static constexpr int kNumbers = Shape::kNumbers;

  const Source& source;
  const int D;
  const float scale;
  float* const shared;  // attendFloats<kQ>(D)

  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  float o[kQ][Shape::kColumns][kNumbers] = {};
  float m[kQ];
  float d[kQ] = {};  // of the rows whose scores this lane owns

  __device__ Attender(const Source& from, int numbers, float factor, float* memory)
      : source(from), D(numbers), scale(factor), shared(memory) {
    BATON_UNROLL
    for (int i = 0; i < kQ; ++i) m[i] = kNothing;
  }

  // Numbers t of all queries side by side.
  __device__ float* queries() const { return shared; }
  // e^(s - m) of the rows of this warp's slot, queries side by side.
  __device__ float* weights() const { return shared + kQ * (D + warp * kBlockRows); }
  __device__ float* sums() const { return shared + kQ * (D + kAttendWarps * kBlockRows); }

  __device__ void run() {
    for (int t = static_cast<int>(threadIdx.x); t < D; t += kAttendThreads) {
      BATON_UNROLL
      for (int i = 0; i < kQ; ++i) {
        const float* q = source.query(i);
        queries()[t * kQ + i] = q == nullptr ? 0.0f : q[t];
      }
    }
    __syncthreads();
    for (int slot = warp; slot < source.slots(); slot += kAttendWarps) addSlot(slot);
    finishWarp();
    __syncthreads();
    finishBlock();
  }

  __device__ void addSlot(int slot) {
    RowRange any = {kBlockRows, 0};
    BATON_UNROLL
    for (int i = 0; i < kQ; ++i) {
      const RowRange range = source.range(slot, i);
      if (range.first >= range.end) continue;
      any.first = range.first < any.first ? range.first : any.first;
      any.end = range.end > any.end ? range.end : any.end;
    }
    if (any.first >= any.end) return;  // of the whole warp
    float score[kQ][kNumbers] = {};
    addKeys(source.key(slot), score);
    weigh(slot, score);
    __syncwarp();
    addValues(source.value(slot), any);
    __syncwarp();  // the weights are read
  }

  __device__ void addKeys(const std::byte* key, float (&score)[kQ][kNumbers]) {
    const auto* vectors = reinterpret_cast<const uint4*>(key);
    BATON_UNROLL_BY(8)
    for (int i = 0; i < Shape::kKeyVectors; ++i) {
      const int at = lane + i * kWarp, t = at / Shape::kRowLanes;
      if (t >= D) continue;
      const uint4 vector = vectors[at];
      BATON_UNROLL
      for (int n = 0; n < kNumbers; ++n) {
        const float x = Vector<kKv>::at(vector, n);
        BATON_UNROLL
        for (int j = 0; j < kQ; ++j) score[j][n] = fmaf(queries()[t * kQ + j], x, score[j][n]);
      }
    }
  }

  // Sums over the lanes that share rows: in each step a lane keeps half of its rows and gives the
  // sums of the others to the lane that keeps those.
  template <int kRows, int kStep>
  __device__ float scoreOfRow(float (&score)[kNumbers]) const {
    if constexpr (kRows == 1) {
      return score[0] + __shfl_xor_sync(kAllLanes, score[0], kStep);
    } else {
      constexpr int kHalf = kRows / 2;
      const bool upper = (lane & kStep) != 0;
      BATON_UNROLL
      for (int n = 0; n < kHalf; ++n) {
        const float kept = upper ? score[n + kHalf] : score[n];
        const float given = upper ? score[n] : score[n + kHalf];
        score[n] = kept + __shfl_xor_sync(kAllLanes, given, kStep);
      }
      return scoreOfRow<kHalf, kStep / 2>(score);
    }
  }

  __device__ void weigh(int slot, float (&score)[kQ][kNumbers]) {
    const int row = Shape::rowOf(lane);
    float factor = scale;
    if constexpr (kKv == KvType::kInt8) factor *= scaleOf(source.key(slot), row);
    BATON_UNROLL
    for (int i = 0; i < kQ; ++i) {
      const RowRange range = source.range(slot, i);
      const bool read = row >= range.first && row < range.end;
      const float dot = scoreOfRow<kNumbers, kWarp / 2>(score[i]);
      const float s = read ? factor * dot : kNothing;
      const float largest = fmaxf(m[i], overWarp(s, Largest{}));
      const float weight = read ? expf(s - largest) : 0.0f;
      // Without a row so far there is nothing to make smaller, and -inf - -inf is no number.
      const float smaller = m[i] == largest ? 1.0f : expf(m[i] - largest);
      m[i] = largest;
      d[i] = d[i] * smaller + (Shape::ownsRow(lane) ? weight : 0.0f);
      if (Shape::ownsRow(lane)) weights()[row * kQ + i] = weight;
      BATON_UNROLL
      for (int c = 0; c < Shape::kColumns; ++c) {
        BATON_UNROLL
        for (int n = 0; n < kNumbers; ++n) o[i][c][n] *= smaller;
      }
    }
  }

  __device__ float scaleOf(const std::byte* base, int row) const {
    return wideHalf(
        reinterpret_cast<const uint16_t*>(base + static_cast<size_t>(D) * kBlockRows)[row]);
  }

  __device__ void addValues(const std::byte* value, RowRange any) {
    const auto* vectors = reinterpret_cast<const uint4*>(value);
    BATON_UNROLL_BY(4)
    for (int begin = 0; begin < kBlockRows; begin += Shape::kRowsAtOnce) {
      const int row = begin + lane / Shape::kValueLanes;
      if (row < any.first || row >= any.end) continue;
      float weight[kQ];
      BATON_UNROLL
      for (int i = 0; i < kQ; ++i) {
        weight[i] = weights()[row * kQ + i];
      }
      if constexpr (kKv == KvType::kInt8) {
        const float scaleOfRow = scaleOf(value, row);
        BATON_UNROLL
        for (int i = 0; i < kQ; ++i) weight[i] = weight[i] == 0 ? 0.0f : weight[i] * scaleOfRow;
      }
      BATON_UNROLL
      for (int c = 0; c < Shape::kColumns; ++c) {
        const int column = lane % Shape::kValueLanes + c * Shape::kValueLanes;
        if (column * kNumbers >= D) continue;
        const uint4 vector = vectors[row * (D / kNumbers) + column];
        BATON_UNROLL
        for (int i = 0; i < kQ; ++i) {
          if (weight[i] == 0) continue;  // this query does not read the row, which may be NaN
          BATON_UNROLL
          for (int n = 0; n < kNumbers; ++n) {
            o[i][c][n] = fmaf(weight[i], Vector<kKv>::at(vector, n), o[i][c][n]);
          }
        }
      }
    }
  }

  // The state of the warp into shared memory: o [kQ][D], then m and d.
  __device__ void finishWarp() {
    float* state = sums() + warp * kQ * (D + 2);
    BATON_UNROLL
    for (int i = 0; i < kQ; ++i) {
      d[i] = overWarp(d[i], Sum{});
      if (lane == 0) {
        state[kQ * D + i] = m[i];
        state[kQ * D + kQ + i] = d[i];
      }
      BATON_UNROLL
      for (int c = 0; c < Shape::kColumns; ++c) {
        const int column = lane % Shape::kValueLanes + c * Shape::kValueLanes;
        BATON_UNROLL
        for (int n = 0; n < kNumbers; ++n) {
          float sum = o[i][c][n];
          BATON_UNROLL
          for (int step = kWarp / 2; step >= Shape::kValueLanes; step /= 2) {
            sum += __shfl_xor_sync(kAllLanes, sum, step);
          }
          if (lane < Shape::kValueLanes && column * kNumbers < D) {
            state[i * D + column * kNumbers + n] = sum;
          }
        }
      }
    }
  }

  __device__ void finishBlock() const {
    const int states = kQ * (D + 2);
    for (int i = 0; i < kQ; ++i) {
      if (source.query(i) == nullptr) continue;
      const float* ms = sums() + kQ * D + i;
      float largest = kNothing, weight[kAttendWarps], sum = 0;
      BATON_UNROLL
      for (int w = 0; w < kAttendWarps; ++w) largest = fmaxf(largest, ms[w * states]);
      BATON_UNROLL
      for (int w = 0; w < kAttendWarps; ++w) {
        weight[w] = ms[w * states] == kNothing ? 0.0f : expf(ms[w * states] - largest);
        sum += ms[w * states + kQ] * weight[w];
      }
      for (int t = static_cast<int>(threadIdx.x); t < D; t += kAttendThreads) {
        float total = 0;
        BATON_UNROLL
        for (int w = 0; w < kAttendWarps; ++w) total += sums()[w * states + i * D + t] * weight[w];
        source.store(i, t, total, largest, sum);
      }
    }
  }
};

template <KvType kKv, int kDim, int kQ, class Source>
__device__ inline void attendBlock(const Source& source, int D, float scale) {
  Attender<kKv, kDim, kQ, Source>(source, D, scale, sharedMemory<float>()).run();
}

// What a kernel of attention is compiled for: KV of a type, heads of at most so many numbers.
template <KvType kType, int kMostNumbers>
struct HeadsOf {
  static constexpr KvType kKv = kType;
  static constexpr int kDim = kMostNumbers;
};

template <KvType kKv, class Fn>
void withDim(int D, const Fn& fn) {
  if (D <= 64) return fn(HeadsOf<kKv, 64>{});
  if (D <= 128) return fn(HeadsOf<kKv, 128>{});
  fn(HeadsOf<kKv, kMostHeadDim>{});
}

// fn(HeadsOf<...>{}) for KV of the type and heads of D numbers, on the host.
template <class Fn>
void withHeads(KvType kv, int D, const Fn& fn) {
  switch (kv) {
    case KvType::kF32:
      return withDim<KvType::kF32>(D, fn);
    case KvType::kF16:
      return withDim<KvType::kF16>(D, fn);
    case KvType::kBF16:
      return withDim<KvType::kBF16>(D, fn);
    case KvType::kInt8:
      return withDim<KvType::kInt8>(D, fn);
  }
}

}  // namespace baton::cuda
