// SPDX-License-Identifier: Apache-2.0
// What this process may use: instruction sets (the CPU has them and the OS saves their registers),
// threads, memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace baton {

struct CpuFeatures {
  // One name per feature that CPU and OS both allow, as Linux writes it: "avx2", "fma",
  // "avx512_vnni", ...
  std::vector<std::string> names;
  bool avx2 = false;  // everything that *_avx2.cpp is compiled with: AVX2, FMA, F16C, BMI2
  bool avx512 =
      false;  // everything that *_avx512.cpp is compiled with: that and F, BW, DQ, VL, VNNI, BF16
  // Everything that *_amx.cpp is compiled with: that and TILE, INT8, BF16; the OS has allowed
  // tiles.
  bool amx = false;
  bool sha = false;  // SHA-NI and SSE4.1
  bool sse42 = false;
};

const CpuFeatures& cpuFeatures();

// "AMD EPYC 9654", or "unknown CPU".
std::string cpuBrand();

// Threads worth starting: the least of CPUs in the affinity mask, cgroup quota rounded up, and
// physical cores among those CPUs. At least 1.
int allowedThreads();

// Bytes this process may still take: the least of MemAvailable and what each cgroup above it
// leaves.
uint64_t availableMemory();

// The parts of the above that read files, with the root folder as an argument so that tests can
// state one.
namespace cpu_detail {
double cgroupCpuLimit(const std::string& root);      // CPUs; 0 where none is set
uint64_t cgroupMemoryLeft(const std::string& root);  // bytes; UINT64_MAX where none is set
uint64_t memAvailable(const std::string& root);      // bytes; UINT64_MAX when unreadable
int physicalCores(const std::string& root, const std::vector<int>& cpus);
}  // namespace cpu_detail

}  // namespace baton
