// SPDX-License-Identifier: Apache-2.0
// What device code of several operations shares: rows read and written in fours, and sums over a
// warp or a block. A sum's order hangs on the number of threads alone, so a row has the same bits
// wherever it stands and whatever is computed beside it.
#pragma once

#include "cuda/launch.cuh"
#include "kernels/linear/linear.h"

namespace baton::cuda {

inline constexpr unsigned kAllLanes = 0xffffffffu;

// Numbers i .. i + 3 of a row of n; what lies beyond its end is 0. `kFours`: inFours(row, n).
template <bool kFours>
__device__ inline float4 loadFour(const float* row, size_t i, size_t n) {
  if (kFours) return *reinterpret_cast<const float4*>(row + i);
  return make_float4(row[i], i + 1 < n ? row[i + 1] : 0.0f, i + 2 < n ? row[i + 2] : 0.0f,
                     i + 3 < n ? row[i + 3] : 0.0f);
}

template <bool kFours>
__device__ inline void storeFour(float* row, size_t i, size_t n, float4 four) {
  if (kFours) {
    *reinterpret_cast<float4*>(row + i) = four;
    return;
  }
  row[i] = four.x;
  if (i + 1 < n) row[i + 1] = four.y;
  if (i + 2 < n) row[i + 2] = four.z;
  if (i + 3 < n) row[i + 3] = four.w;
}

__device__ inline float4 addFours(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

// y[r, n] of a linear layer.
__device__ inline void storeSum(const LinearArgs& a, int r, int n, float sum) {
  float& y = a.y[static_cast<size_t>(r) * static_cast<size_t>(a.ldy) + static_cast<size_t>(n)];
  y = a.accumulate ? y + sum : sum;
}

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

// The larger number; a NaN only when both are one.
struct Largest {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// Over `kLanes` neighbours, a power of two: each of them has the result. All lanes of the warp call
// it.
template <int kLanes, class T, class Combine>
__device__ inline T overLanes(T value, Combine combine) {
  for (int step = kLanes / 2; step > 0; step /= 2) {
    value = combine(value, __shfl_xor_sync(kAllLanes, value, step));
  }
  return value;
}
template <class T, class Combine>
__device__ inline T overWarp(T value, Combine combine) {
  return overLanes<kWarp>(value, combine);
}

// Every thread has the result. All threads of the block call it; `shared`: one T for each warp.
template <class T, class Combine>
__device__ inline T overBlock(T value, T* shared, Combine combine) {
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  value = overWarp(value, combine);
  if (warps == 1) return value;
  __syncthreads();  // whoever used `shared` before has read it
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
  T total = shared[0];
  for (int w = 1; w < warps; ++w) total = combine(total, shared[w]);
  return total;
}

#if defined(__CUDACC__)
// The block's shared memory, as many bytes as the launch asked for. All shared memory is asked for
// so: under emulation every block then has fresh memory full of NaN that ends where it was said to.
template <class T>
__device__ inline T* sharedMemory() {
  extern __shared__ __align__(16) unsigned char batonSharedMemory[];
  return reinterpret_cast<T*>(batonSharedMemory);
}
#else
template <class T>
inline T* sharedMemory() {
  return static_cast<T*>(baton::emulation::sharedMemory());
}
#endif

}  // namespace baton::cuda
