// SPDX-License-Identifier: Apache-2.0
// In vectors of four, which every instruction set has that the library is built for. (Compilers do
// not make them of plain loops here: comparisons of floats might trap.)
#include "engine/logit_row.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>

namespace baton {
namespace {

constexpr int kLanes = 4;
using Floats = float __attribute__((vector_size(16)));
using Ints = int32_t __attribute__((vector_size(16)));

constexpr float kLowest = -std::numeric_limits<float>::infinity();

Floats load(const float* from) {
  Floats x;
  std::memcpy(&x, from, sizeof x);
  return x;
}

Floats all(float value) {
  return Floats{value, value, value, value};
}

// Of `count` numbers, at most a block of them.
float largestOf(const float* x, int count) {
  constexpr int kChains = 4;
  Floats best[kChains];
  std::fill_n(best, kChains, all(kLowest));
  int i = 0;
  for (; i + kChains * kLanes <= count; i += kChains * kLanes) {
    for (int chain = 0; chain < kChains; ++chain) {
      const Floats one = load(x + i + chain * kLanes);
      best[chain] = one > best[chain] ? one : best[chain];
    }
  }
  for (; i < count; ++i) best[0] = all(x[i]) > best[0] ? all(x[i]) : best[0];
  float largest = kLowest;
  for (const Floats& chain : best) {
    for (int lane = 0; lane < kLanes; ++lane) largest = std::max(largest, chain[lane]);
  }
  return largest;
}

// e^x for x <= 0: x = n ln 2 + r, |r| <= 0.35, Taylor to r^7, times 2^n; 0 below -87, where 2^n
// leaves the normal floats. NaN stays NaN.
Floats expOf(Floats x) {
  constexpr float kRound = 0x1.8p23f;  // what is added to it loses its fraction
  const Floats least = all(-87.0f);
  const Floats inRange = x < least ? least : x;
  const Floats n = (inRange * 1.44269504f + kRound) - kRound;
  const Floats r = (inRange - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;  // ln 2: upper bits, rest
  Floats p = all(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // Where x is no number n is none either: any integer will do, since p is NaN.
  const Floats whole = n >= all(-126.0f) ? n : all(-126.0f);
  const Ints exponent = (__builtin_convertvector(whole, Ints) + 127) << 23;
  Floats power;
  std::memcpy(&power, &exponent, sizeof power);
  return x < least ? all(0.0f) : p * power;
}

double sumOf(const float* x, int count) {
  double lanes[kLanes] = {};
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += double(x[i + lane]);
  }
  for (; i < count; ++i) lanes[0] += double(x[i]);
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

}  // namespace

int32_t argmax(const float* logits, int vocab) {
  float best = kLowest;
  int block = 0;
  for (int at = 0; at < vocab; at += kLogitBlock) {
    const float largest = largestOf(logits + at, std::min(kLogitBlock, vocab - at));
    if (largest > best) best = largest, block = at;
  }
  const float* end = logits + std::min(block + kLogitBlock, vocab);
  const float* found = std::find(logits + block, end, best);
  return found == end ? 0 : static_cast<int32_t>(found - logits);
}

float atLeast(const float* logits, int vocab, int count, std::vector<float>& scratch) {
  scratch.clear();
  for (int at = 0; at < vocab; at += kLogitBlock)
    scratch.push_back(largestOf(logits + at, std::min(kLogitBlock, vocab - at)));
  if (static_cast<size_t>(count) >= scratch.size()) return kLowest;
  const auto nth = scratch.begin() + (count - 1);
  std::nth_element(scratch.begin(), nth, scratch.end(), std::greater<>());
  return *nth;
}

double weigh(const float* logits, int vocab, float best, float temperature, float* out,
             double* sums) {
  double total = 0;
  for (int at = 0; at < vocab; at += kLogitBlock, ++sums) {
    const int end = std::min(at + kLogitBlock, vocab);
    // Distances from the best: no quotient overflows, however small the temperature is.
    int i = at;
    for (; i + kLanes <= end; i += kLanes) {
      const Floats weights = expOf((load(logits + i) - best) / temperature);
      std::memcpy(out + i, &weights, sizeof weights);
    }
    for (; i < end; ++i) out[i] = expOf(all((logits[i] - best) / temperature))[0];
    *sums = sumOf(out + at, end - at);
    total += *sums;
  }
  return total;
}

}  // namespace baton
