// SPDX-License-Identifier: Apache-2.0
// How an operation reaches the device, the part of a .cu file that runs on the host. Everything
// below native/cuda is written in what nvcc and, with test/native/emulation/cuda.h in front, any
// C++ compiler understand: so launches are calls, and PTX stands behind device functions that have
// a definition for the host beside it.
#pragma once

#include <cstddef>
#include <cstdint>

// Before a loop over an array that stands in registers: its indices must be constants. BY: before
// one that is unrolled so many times, for as many loads on their way at once.
#if defined(__CUDACC__)
#define BATON_PRAGMA(text) _Pragma(#text)
#define BATON_UNROLL BATON_PRAGMA(unroll)
#define BATON_UNROLL_BY(times) BATON_PRAGMA(unroll times)
#else
#define BATON_UNROLL
#define BATON_UNROLL_BY(times)
#endif

namespace baton::cuda {

// Where this thread's launches go. The owner of the device sets it.
inline thread_local cudaStream_t launchStream = nullptr;

inline constexpr int kWarp = 32;

// A launch that fails stays the runtime's last error, which the owner of the device reads where it
// waits for results (cudaGetLastError); operations have no way to say it, as on the CPU.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, int threads, size_t sharedBytes,
            Arguments... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = sharedBytes;
  config.stream = launchStream;
  static_cast<void>(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
}

// Threads of a block that works on one row of n > 0 numbers, four at a time. A function of the
// row's length alone, because sums over the row are made in the order that it gives.
inline constexpr int kMostRowThreads = 512;
constexpr int threadsOfRow(int n) {
  const int threads = (n + 4 * kWarp - 1) / (4 * kWarp) * kWarp;
  return threads < kMostRowThreads ? threads : kMostRowThreads;
}

constexpr unsigned blocksOf(size_t items, size_t each) {
  return static_cast<unsigned>((items + each - 1) / each);
}

// Whether rows of n numbers that begin at `first` can be read in fours: all begin at 16 bytes.
template <class T>
bool inFours(const T* first, int n) {
  return reinterpret_cast<uintptr_t>(first) % 16 == 0 && n % 4 == 0;
}

}  // namespace baton::cuda
