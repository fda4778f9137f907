// SPDX-License-Identifier: Apache-2.0
// The benchmark of kernels on a GPU: what a case has at hand. A case says what one call moves and
// computes, and issues calls; the bench times them in samples of many calls, each on another copy
// of what it reads, so that nothing comes out of the cache that would not in a model. A line of
// JSON is handed out after each case, so that a run that is cut short has what it measured.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cuda/api.h"
#include "cuda/kernels.h"
#include "device/memory.h"
#include "gpu/kernels/shapes.h"

namespace baton::bench {

// The ceilings that other cases are shares of.
inline constexpr const char* kCopyCase = "copy";
inline constexpr const char* kGemmCase = "gemm bf16";

using Call = std::function<void(int)>;

// Where calls run and how long they take. The first call of `record` ends what was recorded before.
class Timer {
 public:
  virtual ~Timer() = default;
  // `call(0)` .. `call(calls - 1)` are what `play` does from now on.
  virtual void record(int calls, const Call& call) = 0;
  virtual double play() = 0;  // seconds of all of them
  virtual const char* method() const = 0;
};

struct GpuOptions {
  int samples = 30;
  double sampleSeconds = 1e-3;
  size_t rotateBytes = size_t{256} << 20;  // four times the L2 of an H200 and more
  std::string filter;                      // of names; empty: all
  bool tiny = false;
};

// Of one call, each array once.
struct Work {
  double bytes = 0, flops = 0;
};

// Numbers that calls write: NaN before, and none of them NaN after.
struct Written {
  float* data = nullptr;
  size_t count = 0;
};

class GpuBench;

struct GpuCase {
  std::string name;
  std::function<void(GpuBench&)> run;
};

class GpuBench {
 public:
  using Sink = std::function<void(const std::string& line)>;

  GpuBench(Memory& memory, const BatonCudaKernels& kernels, Timer& timer, GpuOptions options,
           Sink sink)
      : memory_(memory),
        kernels_(kernels),
        timer_(timer),
        options_(std::move(options)),
        sink_(std::move(sink)) {}

  // What a case cannot do is a line, too, and no end of the others.
  void run(const std::vector<GpuCase>& cases);

  const BatonCudaKernels& kernels() const { return kernels_; }

  // How many copies of so many bytes are more than the caches hold.
  int copiesOf(double bytes) const;

  // Memory of the device that holds `pattern` over and over.
  template <class T>
  DeviceBuffer filled(size_t bytes, const std::vector<T>& pattern) {
    return filledWith(bytes, pattern.data(), pattern.size() * sizeof(T));
  }
  template <class T>
  DeviceBuffer list(const std::vector<T>& values) {
    return filledWith(values.size() * sizeof(T), values.data(), values.size() * sizeof(T));
  }
  DeviceBuffer floats(size_t count);  // random ones in [-1, 1)
  DeviceBuffer room(size_t bytes);    // of NaN

  // Times the case that runs; `call(i)` works on copy i % copies. Throws where what is written is
  // no number.
  void measure(const Work& work, int copies, const Written& written, const Call& call);

 private:
  DeviceBuffer filledWith(size_t bytes, const void* pattern, size_t patternBytes);
  std::vector<double> sample(int copies, const Call& call, int& calls);
  void check(const Written& written);

  Memory& memory_;
  const BatonCudaKernels& kernels_;
  Timer& timer_;
  GpuOptions options_;
  Sink sink_;
  std::string name_;     // of the case that runs
  double copyRate_ = 0;  // bytes a second of kCopyCase, as soon as it was measured
  double gemmRate_ = 0;  // flops a second of kGemmCase
};

// As a string of JSON.
std::string quoted(const std::string& text);

// Random numbers in [-1, 1), the same each time, with a prime count so that no two copies agree.
std::vector<float> randomPattern();

std::vector<GpuCase> ceilingCases(const GpuShapes& shapes);
std::vector<GpuCase> linearCases(const GpuShapes& shapes);
std::vector<GpuCase> rowCases(const GpuShapes& shapes);
std::vector<GpuCase> attentionCases(const GpuShapes& shapes);
std::vector<GpuCase> backwardCases(const GpuShapes& shapes);
std::vector<GpuCase> allCases(const GpuShapes& shapes);

}  // namespace baton::bench
