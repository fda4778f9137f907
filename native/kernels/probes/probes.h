// SPDX-License-Identifier: Apache-2.0
// Loops that do nothing but reach a limit of the machine, one table per instruction set: what a
// kernel of that set could do at most. Twelve independent chains, because a multiply-add takes four
// or five cycles and two begin in each.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/ops.h"

namespace baton {

struct Probes {
  Isa isa;
  const char* fmaName;
  double fmaFlops;  // of a round
  float (*fma)(int64_t rounds);
  // Dot products of bytes, or null where the instruction set has none.
  const char* int8Name;
  double int8Ops;  // of a round
  int32_t (*int8)(int64_t rounds);
  // Reads [bytes], a multiple of kProbeBytes, 64-byte aligned, as four streams, once.
  uint64_t (*read)(const void* from, size_t bytes);
  // Dot products of bfloat16, or null where the instruction set has none.
  const char* bf16Name = nullptr;
  double bf16Flops = 0;  // of a round
  float (*bf16)(int64_t rounds) = nullptr;
};

inline constexpr size_t kProbeBytes = 1024;
static constexpr int kProbeChains = 12;

extern const Probes kScalarProbes;
#if defined(__x86_64__)
extern const Probes kAvx2Probes;
extern const Probes kAvx512Probes;
extern const Probes kAmxProbes;

// What AMX's table has from that of AVX-512.
inline constexpr double kAvx512FmaFlops = 32.0 * kProbeChains;
float probeFmaAvx512(int64_t rounds);
uint64_t probeReadAvx512(const void* from, size_t bytes);
#endif

}  // namespace baton
