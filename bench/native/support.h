// SPDX-License-Identifier: Apache-2.0
// What the benchmarks of kernels share: the shapes of SmolLM2-135M, random weights, timing.
#pragma once

#include <time.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/threads.h"
#include "kernels/ops.h"
#include "quant/types.h"

namespace baton::bench {

inline constexpr int kM = 576, kF = 1536, kH = 9, kG = 3, kD = 64, kV = 49152, kL = 30;

struct Options {
  int threads = allowedThreads();
  int repeat = 7;
  std::string type = "Q4_1";
  std::string filter;

  bool wants(const std::string& name) const { return name.find(filter) != std::string::npos; }
};

struct Matrix {
  std::vector<std::byte> bytes;
  const QuantType* type;
  int N, K;
};

// K or, where the type has longer blocks, the next larger number that is whole ones. The same few
// blocks over and over: speed does not depend on values.
inline Matrix randomMatrix(const QuantType& type, int N, int K, std::mt19937& random) {
  const int depth = (K + type.blockElements - 1) / type.blockElements * type.blockElements;
  Matrix m{std::vector<std::byte>(quantRowBytes(type, int64_t{N} * depth)), &type, N, depth};
  std::vector<float> values(256 * 16);
  for (float& value : values) value = static_cast<float>(random() % 2001) * 1e-5f - 0.01f;
  std::vector<std::byte> pattern(quantRowBytes(type, static_cast<int64_t>(values.size())));
  type.quantize(values.data(), pattern.data(), values.size());
  for (size_t at = 0; at < m.bytes.size(); at += pattern.size()) {
    std::memcpy(&m.bytes[at], pattern.data(), std::min(pattern.size(), m.bytes.size() - at));
  }
  return m;
}

inline double now(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Seconds of one call: median of the repeats after one warm-up. One thread is measured in CPU time,
// which other load on the machine disturbs less.
template <class Fn>
double median(int repeat, int threads, const Fn& fn) {
  const clockid_t clock = threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
  fn();
  std::vector<double> seconds;
  for (int i = 0; i < repeat; ++i) {
    const double begin = now(clock);
    fn();
    seconds.push_back(now(clock) - begin);
  }
  std::nth_element(seconds.begin(), seconds.begin() + repeat / 2, seconds.end());
  return seconds[static_cast<size_t>(repeat / 2)];
}

// Backward ops, in GFLOP/s and percent of what the machine's FMA units can do.
void benchBackward(const Options& options, const Ops& ops);

}  // namespace baton::bench
