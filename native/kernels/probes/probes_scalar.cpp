// SPDX-License-Identifier: Apache-2.0
// What plain C++ reaches, compiled for the baseline of the platform.
#include "kernels/probes/probes.h"

namespace baton {
namespace {

float multiplyAdd(int64_t rounds) {
  float sum[kProbeChains];
  for (int i = 0; i < kProbeChains; ++i) sum[i] = static_cast<float>(i);
  for (int64_t round = 0; round < rounds; ++round) {
    for (int i = 0; i < kProbeChains; ++i) sum[i] = sum[i] * 0.999f + 1e-3f;
  }
  float all = 0;
  for (const float one : sum) all += one;
  return all;
}

uint64_t read(const void* from, size_t bytes) {
  const size_t quarter = bytes / 4 / sizeof(uint64_t);
  const auto* x = static_cast<const uint64_t*>(from);
  uint64_t sum[4] = {};
  for (size_t i = 0; i < quarter; ++i) {
    for (size_t stream = 0; stream < 4; ++stream) sum[stream] += x[stream * quarter + i];
  }
  return sum[0] + sum[1] + sum[2] + sum[3];
}

}  // namespace

const Probes kScalarProbes = {
    Isa::kScalar, "multiply, add", 2.0 * kProbeChains, multiplyAdd, nullptr, 0, nullptr, read};

}  // namespace baton
