// SPDX-License-Identifier: Apache-2.0
#include "emulation/cuda_mma.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "emulation/cuda.h"

namespace baton::emulation {
namespace {

constexpr int kRowBytes = 16;  // of a matrix that is loaded

int bankConflicts = 0;

struct Load {
  int count;
  bool transposed;
  const void* row;
};

// Rows of 16 bytes fill 4 of 32 banks.
void countConflicts(const size_t (&offsets)[8]) {
  int readers[8] = {};
  for (const size_t offset : offsets) ++readers[offset / kRowBytes % 8];
  bankConflicts += *std::max_element(readers, readers + 8) - 1;
}

void meetLoad(const void* const* in, void* const* out) {
  const auto loadOf = [&](unsigned lane) { return *static_cast<const Load*>(in[lane]); };
  for (int matrix = 0; matrix < loadOf(0).count; ++matrix) {
    uint16_t numbers[8][8];
    size_t offsets[8];
    for (unsigned row = 0; row < 8; ++row) {
      const unsigned lane = 8 * static_cast<unsigned>(matrix) + row;
      const void* from = loadOf(lane).row;
      offsets[row] = sharedOffset(from, kRowBytes, "ldmatrix");
      std::memcpy(numbers[row], from, kRowBytes);
    }
    countConflicts(offsets);
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      const unsigned group = lane / 4, first = lane % 4 * 2;
      const bool transposed = loadOf(lane).transposed;
      const unsigned low = transposed ? numbers[first][group] : numbers[group][first];
      const unsigned high = transposed ? numbers[first + 1][group] : numbers[group][first + 1];
      static_cast<unsigned*>(out[lane])[matrix] = low | high << 16;
    }
  }
}

template <class Sum>
struct Operands {
  const Sum* c;
  unsigned a[4], b[2];
};

float towardsZero(double exact) {
  const auto rounded = static_cast<float>(exact);
  if (!std::isfinite(rounded) || std::fabs(rounded) <= std::fabs(exact)) return rounded;
  return std::nextafterf(rounded, 0.0f);
}

template <bool kBfloat>
float half(unsigned word, unsigned i) {
  const auto bits = static_cast<uint16_t>(word >> 16 * i);
  return kBfloat ? floatOfBfloat(bits) : floatOfHalf(bits);
}

// The fragments of m16n8k16 with numbers of 16 bits, as the PTX ISA gives them: number i of a, b
// and c of a lane.
template <bool kBfloat>
void meetHalves(const void* const* in, void* const* out) {
  double a[16][16], b[16][8];
  const auto of = [&](unsigned lane) { return static_cast<const Operands<float>*>(in[lane]); };
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    const unsigned group = lane / 4, inGroup = lane % 4;
    for (unsigned i = 0; i < 8; ++i) {
      const unsigned row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
      const unsigned column = inGroup * 2 + (i & 1) + (i >= 4 ? 8 : 0);
      a[row][column] = half<kBfloat>(of(lane)->a[i / 2], i % 2);
    }
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = inGroup * 2 + (i & 1) + (i >= 2 ? 8 : 0);
      b[row][group] = half<kBfloat>(of(lane)->b[i / 2], i % 2);
    }
  }
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = lane / 4 + (i < 2 ? 0 : 8), column = lane % 4 * 2 + (i & 1);
      double sum = of(lane)->c[i];
      for (unsigned k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
      static_cast<float*>(out[lane])[i] = towardsZero(sum);
    }
  }
}

int byteAt(unsigned word, unsigned i) {
  return static_cast<int8_t>(word >> 8 * i);
}

// The same of m16n8k32 (kHalves 2) and m16n8k16 (1) with bytes.
template <unsigned kHalves>
void meetBytes(const void* const* in, void* const* out) {
  int a[16][32] = {}, b[32][8] = {};
  const auto of = [&](unsigned lane) { return static_cast<const Operands<int>*>(in[lane]); };
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    const unsigned group = lane / 4, inGroup = lane % 4;
    for (unsigned i = 0; i < 8 * kHalves; ++i) {
      const unsigned row = i < 4 || (i >= 8 && i < 12) ? group : group + 8;
      const unsigned column = inGroup * 4 + (i & 3) + (i >= 8 ? 16 : 0);
      a[row][column] = byteAt(of(lane)->a[i / 4], i % 4);
    }
    for (unsigned i = 0; i < 4 * kHalves; ++i) {
      const unsigned row = inGroup * 4 + (i & 3) + (i >= 4 ? 16 : 0);
      b[row][group] = byteAt(of(lane)->b[i / 4], i % 4);
    }
  }
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = lane / 4 + (i < 2 ? 0 : 8), column = lane % 4 * 2 + (i & 1);
      int sum = of(lane)->c[i];
      for (unsigned k = 0; k < 16 * kHalves; ++k) sum += a[row][k] * b[k][column];
      static_cast<int*>(out[lane])[i] = sum;
    }
  }
}

template <class Sum>
void multiplyTogether(const char* name, Sum (&c)[4], const Operands<Sum>& mine, Meet meet) {
  Sum sums[4];
  meetWarp(name, 0xffffffffu, &mine, sums, meet);
  std::copy(std::begin(sums), std::end(sums), c);
}

void land(const std::vector<Copy>& group) {
  for (const Copy& copy : group) {
    std::memcpy(copy.to, copy.data.data(), static_cast<size_t>(copy.bytes));
  }
}

}  // namespace

void loadMatrices(unsigned* out, int count, bool transposed, const void* row) {
  static constexpr const char* kNames[2][5] = {
      {"", "ldmatrix.x1", "ldmatrix.x2", "", "ldmatrix.x4"},
      {"", "ldmatrix.x1.trans", "ldmatrix.x2.trans", "", "ldmatrix.x4.trans"}};
  const Load mine{count, transposed, row};
  meetWarp(kNames[transposed][count], 0xffffffffu, &mine, out, meetLoad);
}

void multiplyHalves(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, bool bfloat) {
  const Operands<float> mine{c, {a[0], a[1], a[2], a[3]}, {b0, b1}};
  multiplyTogether(bfloat ? "mma.bf16" : "mma.f16", c, mine,
                   bfloat ? meetHalves<true> : meetHalves<false>);
}

void multiplyBytes(int (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  const Operands<int> mine{c, {a[0], a[1], a[2], a[3]}, {b0, b1}};
  multiplyTogether("mma.m16n8k32.s8", c, mine, meetBytes<2>);
}

void multiplyBytes(int (&c)[4], unsigned a0, unsigned a1, unsigned b0) {
  const Operands<int> mine{c, {a0, a1, 0, 0}, {b0, 0}};
  multiplyTogether("mma.m16n8k16.s8", c, mine, meetBytes<1>);
}

void copyAsync(void* shared, const void* global, int bytes, bool there) {
  const auto size = static_cast<size_t>(bytes);
  if (reinterpret_cast<uintptr_t>(global) % size != 0) {
    faultOfThread("cp.async from a place that is no multiple of its bytes");
  }
  Copy copy{static_cast<std::byte*>(shared), bytes, {}};
  if (!insideShared(shared, size)) {
    faultOfThread("cp.async to a place that is not in shared memory, or an odd one");
  }
  if (there) std::memcpy(copy.data.data(), global, size);
  std::memset(shared, 0xff, size);
  Copies& copies = copiesOfThread();
  if (copies.empty()) copies.emplace_back();
  copies.back().push_back(copy);
}

void endCopies() {
  Copies& copies = copiesOfThread();
  if (copies.empty()) copies.emplace_back();
  copies.emplace_back();
}

void waitForCopies(size_t left) {
  Copies& copies = copiesOfThread();
  while (copies.size() > left + 1) {
    land(copies.front());
    copies.erase(copies.begin());
  }
}

int takeBankConflicts() {
  const int count = bankConflicts;
  bankConflicts = 0;
  return count;
}

}  // namespace baton::emulation
