// SPDX-License-Identifier: Apache-2.0
// What the conformance tests of kernels share: data that is the same everywhere and memory that
// starts off alignment.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/half.h"
#include "check.h"
#include "cuda/ops.h"
#include "device/device.h"
#include "quant/types.h"

namespace baton::test {

constexpr double kEpsilon = 0x1p-24;  // rounding of one float32 operation
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Tables that have the operation: those that this machine runs, and that of CUDA, emulated
// (emulation/cuda.h).
template <class Op>
std::vector<const Ops*> tablesWith(Op Ops::* op) {
  std::vector<const Ops*> tables = availableOps();
  tables.push_back(&kCudaOps);
  std::erase_if(tables, [&](const Ops* ops) { return ops->*op == nullptr; });
  return tables;
}

// n values of T at an address that is `shift` elements past 64-byte alignment.
template <class T>
class Misaligned {
 public:
  Misaligned(size_t n, size_t shift, T value = T{})
      : memory_(n * sizeof(T) + 64 + shift * sizeof(T)), n_(n) {
    auto base = (reinterpret_cast<uintptr_t>(memory_.data()) + 63) & ~uintptr_t{63};
    data_ = reinterpret_cast<T*>(base) + shift;
    for (size_t i = 0; i < n; ++i) data_[i] = value;
  }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  size_t size() const { return n_; }

 private:
  std::vector<std::byte> memory_;
  size_t n_;
  T* data_;
};

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(engine_() % n); }
  // Bell-shaped with a few outliers, because uniform numbers make weak tests of softmax and of
  // quantisation.
  float number() {
    float sum = 0;
    for (int i = 0; i < 4; ++i) sum += static_cast<float>(engine_() >> 8) * 0x1p-24f - 0.5f;
    return below(50) == 0 ? 8 * sum : sum;
  }
  template <class C>
  void fill(C& values) {
    for (size_t i = 0; i < values.size(); ++i) values[i] = number();
  }

 private:
  std::mt19937 engine_;
};

// K, or the next larger number that is whole blocks of the type.
inline int wholeBlocks(const QuantType& type, int K) {
  return (K + type.blockElements - 1) / type.blockElements * type.blockElements;
}

inline bool sameBits(const float* a, const float* b, size_t n) {
  return std::memcmp(a, b, n * sizeof(float)) == 0;
}

// One check per call: how many of the n values lie outside their bounds, worst first.
inline void checkWithin(const std::string& what, const float* got, const double* want,
                        const double* bound, size_t n) {
  double worst = 0;
  size_t wrong = 0, at = 0;
  for (size_t i = 0; i < n; ++i) {
    const double ratio = std::fabs(got[i] - want[i]) / bound[i];
    if (ratio <= 1) continue;
    ++wrong;
    if (!(ratio <= worst)) worst = ratio, at = i;
  }
  expect(wrong == 0, __FILE__, __LINE__,
         what + ": " + std::to_string(wrong) + " of " + std::to_string(n) +
             " values beyond their bound; at " + std::to_string(at) + " " +
             (n ? show(got[at]) + " instead of " + show(want[at]) : ""));
}

}  // namespace baton::test
