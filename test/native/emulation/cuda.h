// SPDX-License-Identifier: Apache-2.0
// CUDA for a C++ compiler: the words of the language and the part of the runtime that native/cuda
// uses, so that its kernels run where there is no GPU. Each thread of a block is a fiber, blocks
// follow one another; what threads do together (a barrier, a shuffle) is done when all of them wait
// for it, and where some never come, or wait for something else, a Fault says who and where instead
// of a hang. What threads do in between is done in the order of their numbers, or backwards
// (setOrder), and of warps one after the other from barrier to barrier: code whose results differ
// has a race.
//
// Global memory is the caller's and shared memory is the heap's, fresh and full of NaN for every
// block, so AddressSanitizer sees what is beyond them. Tensor cores and asynchronous copies:
// cuda_mma.h. Not seen: races that both orders hide, alignment of vector loads
// (UndefinedBehaviorSanitizer does), speed.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "emulation/cuda_mma.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

struct alignas(16) float4 {
  float x, y, z, w;
};

inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}

struct alignas(8) uint2 {
  unsigned x, y;
};

struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

// Of the thread that runs.
inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;

namespace baton::emulation {

// What a device would do wrong without a word, or never finish.
struct Fault : std::logic_error {
  using std::logic_error::logic_error;
};

enum class Order { kForwards, kBackwards };
void setOrder(Order order);

// Called around every launch: what else stands for a device may have to be made ready.
void setAround(void (*before)(), void (*after)());

// Where launches of the calling thread are written down instead of being done; null: they are done.
inline thread_local std::vector<std::function<void()>>* captured = nullptr;

// Runs `kernel` once per thread of every block. Throws Fault.
void launch(dim3 grid, dim3 block, size_t sharedBytes, const std::function<void()>& kernel);
// Launches since this was asked last.
uint64_t takeLaunches();

// That of the block that runs.
void* sharedMemory();
// Whether `size` bytes at a multiple of size are all in it.
bool insideShared(const void* place, size_t size);
// From its first byte; where they are not inside it, a Fault of `name`.
size_t sharedOffset(const void* place, size_t size, const char* name);

// Of the thread that runs.
Copies& copiesOfThread();
// Ends it, and the launch with a Fault. It may not throw itself: its stack is not the caller's, and
// nothing on it is destroyed.
void faultOfThread(const char* what);

inline constexpr unsigned kLanes = 32;

// What the lanes of `mask` do together: `meet` is called once when all of them wait for it, with
// what each brought and where each expects its result; null for lanes that are not of them.
using Meet = void (*)(const void* const* in, void* const* out);
void meetWarp(const char* name, uint32_t mask, const void* in, void* out, Meet meet);
void meetBlock(const char* name);

template <class T>
struct Shuffled {
  T value;
  unsigned from;  // the lane whose value this one wants
};

[[noreturn]] void badSource(unsigned lane, unsigned from);

template <class T>
T shuffle(const char* name, uint32_t mask, T value, unsigned from) {
  const Shuffled<T> mine{value, from};
  T got{};
  meetWarp(name, mask, &mine, &got, [](const void* const* in, void* const* out) {
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      if (in[lane] == nullptr) continue;
      const unsigned source = static_cast<const Shuffled<T>*>(in[lane])->from;
      if (source >= kLanes || in[source] == nullptr) badSource(lane, source);
      *static_cast<T*>(out[lane]) = static_cast<const Shuffled<T>*>(in[source])->value;
    }
  });
  return got;
}

inline unsigned laneOfThread() {
  return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % kLanes;
}

// Every lane of `mask` learns which of them say yes.
inline unsigned vote(const char* name, uint32_t mask, bool yes) {
  unsigned got = 0;
  meetWarp(name, mask, &yes, &got, [](const void* const* in, void* const* out) {
    unsigned all = 0;
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      if (in[lane] != nullptr && *static_cast<const bool*>(in[lane])) all |= 1u << lane;
    }
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      if (in[lane] != nullptr) *static_cast<unsigned*>(out[lane]) = all;
    }
  });
  return got;
}

}  // namespace baton::emulation

inline void __syncthreads() {
  baton::emulation::meetBlock("__syncthreads");
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits) {
  return baton::emulation::shuffle("__shfl_xor_sync", mask, value,
                                   baton::emulation::laneOfThread() ^ static_cast<unsigned>(bits));
}

// Lane numbers are taken modulo 32, as the device does.
template <class T>
T __shfl_sync(unsigned mask, T value, int lane) {
  return baton::emulation::shuffle("__shfl_sync", mask, value,
                                   static_cast<unsigned>(lane) % baton::emulation::kLanes);
}

inline unsigned __ballot_sync(unsigned mask, bool yes) {
  return baton::emulation::vote("__ballot_sync", mask, yes);
}

inline int __any_sync(unsigned mask, bool yes) {
  return baton::emulation::vote("__any_sync", mask, yes) != 0;
}

inline int __all_sync(unsigned mask, bool yes) {
  return baton::emulation::vote("__all_sync", mask, yes) == mask;
}

inline void __syncwarp(unsigned mask = 0xffffffffu) {
  baton::emulation::meetWarp("__syncwarp", mask, &mask, nullptr,
                             [](const void* const*, void* const*) {});
}

// Threads of a block take turns, and blocks run one after another.
template <class T>
T atomicAdd(T* at, T value) {
  const T before = *at;
  *at = static_cast<T>(before + value);
  return before;
}

inline int min(int a, int b) {
  return a < b ? a : b;
}

inline int max(int a, int b) {
  return a > b ? a : b;
}

// sum + the products of the four signed bytes of two words.
inline int __dp4a(int a, int b, int sum) {
  for (int i = 0; i < 32; i += 8) {
    sum += static_cast<int8_t>(a >> i) * static_cast<int8_t>(b >> i);
  }
  return sum;
}

// ---- the runtime

using cudaStream_t = struct CUstream_st*;
enum cudaError_t { cudaSuccess = 0 };

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};

// A configuration that a device refuses is a Fault: the caller may look at the error much later.
template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments... arguments) {
  const std::tuple<Parameters...> held(arguments...);
  const auto run = [kernel, held, what = *config] {
    baton::emulation::launch(what.gridDim, what.blockDim, what.dynamicSmemBytes,
                             [&] { std::apply(kernel, held); });
  };
  if (baton::emulation::captured != nullptr) {
    baton::emulation::captured->emplace_back(run);
  } else {
    run();
  }
  return cudaSuccess;
}
