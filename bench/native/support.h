// SPDX-License-Identifier: Apache-2.0
// What the benchmarks of kernels share: the shapes of SmolLM2-135M, random weights, timing, and the
// suite that collects figures and sets them against the machine's limits.
#pragma once

#include <time.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "base/cost.h"
#include "base/cpu.h"
#include "base/threads.h"
#include "device/device.h"
#include "kernels/cost.h"
#include "kernels/ops.h"
#include "quant/types.h"

namespace baton::bench {

inline constexpr int kM = 576, kF = 1536, kH = 9, kG = 3, kD = 64, kV = 49152, kL = 30;
inline constexpr int kRowCounts[] = {1, 2, 4, 8, 16, 128, 512};
inline constexpr int kTileRows = 16;  // of attention, as the engine cuts them for this shape

struct Options {
  int threads = allowedThreads();
  int repeat = 7;
  bool quick = false;
  bool json = false;
  std::string section;  // empty: all
  std::string filter;   // of names; empty: all
};

struct Matrix {
  std::vector<std::byte> bytes;
  const QuantType* type;
  int N, K;
  Buffer panels;  // kernels/linear/panels.h; empty for float formats
};

// K or, where the type has longer blocks, the next larger number that is whole ones. The same few
// blocks over and over: speed does not depend on values.
Matrix randomMatrix(const QuantType& type, int N, int K);

// The seven weights of each of so many layers.
std::vector<Matrix> randomLayers(const QuantType& type, int layers);

// In [-1, 1), the same each time.
std::vector<float> randomFloats(size_t n);

// So many bytes of numbers of that format.
std::vector<std::byte> randomKv(KvType type, size_t bytes);

struct Spread {
  double median = 0, min = 0, max = 0;
};
Spread spreadOf(std::vector<double> values);

inline double now(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Seconds of one call, `repeat` times after a warm-up; a sample is as many calls as take a
// millisecond. One thread is measured in CPU time, which other load disturbs less.
template <class Fn>
std::vector<double> samples(int repeat, int threads, const Fn& fn) {
  const clockid_t clock = threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
  fn();
  double begin = now(clock);
  fn();
  const int calls = std::clamp(static_cast<int>(1e-3 / (now(clock) - begin + 1e-9)), 1, 10'000);
  std::vector<double> seconds;
  for (int i = 0; i < repeat; ++i) {
    begin = now(clock);
    for (int call = 0; call < calls; ++call) fn();
    seconds.push_back((now(clock) - begin) / calls);
  }
  return seconds;
}

// A figure of the machine.
struct Limit {
  std::string name, unit;
  size_t bytes;  // of the buffer that was read; 0: arithmetic
  std::vector<double> values;
};

struct Result {
  std::string op;
  std::string type;  // of weights or KV; empty: float32 rows
  int rows;
  std::string detail;  // what else there is to say of the case
  Isa isa;             // whose kernel it is
  Cost cost;
  Spread seconds;
};

class Suite {
 public:
  Suite(const Options& options, const Ops& ops);

  const Options& options() const { return options_; }
  const Ops& ops() const { return ops_; }
  ThreadPool& pool() { return pool_; }
  float* scratch(int worker);  // enough for every kernel

  // How many layers are enough of an operation that takes so much arithmetic in one.
  int layersFor(double flopsPerLayer) const;

  // Measures `fn`, which does what `cost` counts, if its name is wanted.
  template <class Fn>
  void measure(const char* op, const std::string& type, int rows, const std::string& detail,
               const Cost& cost, const Fn& fn) {
    if (!wants(op, type, rows)) return;
    add({op, type, rows, detail, Isa::kScalar, cost,
         spreadOf(samples(options_.repeat, options_.threads, fn))});
  }
  bool wants(const char* op, const std::string& type, int rows) const;

  // Adds to the samples of each limit: before and after the kernels, as clocks change.
  void measureLimits();

  // One line a result, or one object of JSON.
  void print() const;

 private:
  void add(Result result);
  Limit& limit(const std::string& name, const char* unit, size_t bytes);
  double share(const Result& result, const char** bound) const;
  double bandwidthFor(double bytes) const;
  void printText() const;
  void printJson() const;

  Options options_;
  const Ops& ops_;
  ThreadPool pool_;
  size_t scratchBytes_;
  Buffer scratch_;
  std::vector<Limit> limits_;
  std::vector<Result> results_;
};

// The sections of the suite, by name.
using Section = std::pair<std::string, void (*)(Suite& suite, const QuantType* type)>;

void benchLinear(Suite& suite, const QuantType* type);
void benchLogits(Suite& suite, const QuantType* type);
void benchAttend(Suite& suite, const QuantType* type);
void benchRows(Suite& suite, const QuantType* type);
void benchDLinear(Suite& suite, const QuantType* type);
void benchDLogits(Suite& suite, const QuantType* type);
void benchDAttend(Suite& suite, const QuantType* type);
void benchDRows(Suite& suite, const QuantType* type);

}  // namespace baton::bench
