// SPDX-License-Identifier: Apache-2.0
#include "base/cpu.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <thread>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace baton {
namespace {

#if defined(__x86_64__)

struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

uint64_t extendedControl() {  // XCR0: the register state that the OS saves
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

#ifdef BATON_EMULATED_AVX512  // tests of its kernels on any machine: test/native/emulation
constexpr bool kEmulated = true;
#else
constexpr bool kEmulated = false;
#endif

// Tiles are 8 KiB of state a thread, which Linux keeps for processes that have asked for it
// (arch_prctl(2), ARCH_REQ_XCOMP_PERM); threads that run by then, and later ones, have it.
bool tilesAllowed() {
#if defined(__linux__)
  constexpr int kAsk = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kAsk, kTileData) == 0;
#else
  return false;
#endif
}

CpuFeatures detect() {
  CpuFeatures found;
  const Registers leaf1 = cpuid(1, 0);
  const Registers leaf7 = cpuid(7, 0);
  const Registers leaf71 = cpuid(7, 1);
  const uint64_t saved = (leaf1.ecx >> 27 & 1) != 0 ? extendedControl() : 0;
  const bool ymm = (saved & 0x6) == 0x6;
  const bool zmm = (saved & 0xe6) == 0xe6;
  const bool tiles = (saved & 0x60000) == 0x60000;
  const auto note = [&](const char* name, uint32_t word, int bit, bool os) {
    const bool has = os && (word >> bit & 1) != 0;
    if (has) found.names.emplace_back(name);
    return has;
  };
  const bool sse41 = (leaf1.ecx >> 19 & 1) != 0;
  found.sse42 = note("sse4_2", leaf1.ecx, 20, true);
  note("avx", leaf1.ecx, 28, ymm);
  const bool f16c = note("f16c", leaf1.ecx, 29, ymm);
  const bool fma = note("fma", leaf1.ecx, 12, ymm);
  const bool bmi2 = note("bmi2", leaf7.ebx, 8, true);
  found.sha = note("sha_ni", leaf7.ebx, 29, sse41);
  const bool avx2 = note("avx2", leaf7.ebx, 5, ymm);
  note("avx_vnni", leaf71.eax, 4, ymm);
  const bool f = note("avx512f", leaf7.ebx, 16, zmm);
  const bool bw = note("avx512bw", leaf7.ebx, 30, zmm);
  const bool dq = note("avx512dq", leaf7.ebx, 17, zmm);
  const bool vl = note("avx512vl", leaf7.ebx, 31, zmm);
  const bool vnni = note("avx512_vnni", leaf7.ecx, 11, zmm);
  const bool bf16 = note("avx512_bf16", leaf71.eax, 5, zmm);
  note("avx512_fp16", leaf7.edx, 23, zmm);
  const bool tile = note("amx_tile", leaf7.edx, 24, tiles);
  const bool int8 = note("amx_int8", leaf7.edx, 25, tiles);
  const bool tileBf16 = note("amx_bf16", leaf7.edx, 22, tiles);
  found.avx2 = avx2 && fma && f16c && bmi2;
  found.avx512 = found.avx2 && (kEmulated || (f && bw && dq && vl && vnni && bf16));
  found.amx = found.avx512 && (kEmulated || (tile && int8 && tileBf16 && tilesAllowed()));
  return found;
}

#else

CpuFeatures detect() {
  return {};
}

#endif

std::string readLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// A whole number at the start of a file; `missing` when there is none ("max" included).
uint64_t readNumber(const std::string& path, uint64_t missing) {
  std::istringstream text(readLine(path));
  int64_t value = 0;
  return text >> value && value >= 0 ? static_cast<uint64_t>(value) : missing;
}

// Value of `key` in a file of "key value" lines ("key: value kB" included).
uint64_t readKey(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream text(line);
    std::string name;
    uint64_t value = 0;
    if (text >> name >> value && (name == key || name == key + ":")) return value;
  }
  return 0;
}

// Folders of the cgroup of this process for one controller, innermost first, the root of the
// hierarchy last. An empty controller means version 2.
std::vector<std::string> cgroupFolders(const std::string& root, const std::string& controller) {
  std::string mount = root + "/sys/fs/cgroup";
  if (!controller.empty()) mount.append("/").append(controller);
  std::string path = "/";
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::istringstream names(line.substr(first + 1, second - first - 1));
    bool named = controller.empty() && second == first + 1;
    for (std::string name; std::getline(names, name, ',');) named |= name == controller;
    if (named) path = line.substr(second + 1);
  }
  std::vector<std::string> folders;
  for (; path.size() > 1; path.resize(path.rfind('/'))) folders.push_back(mount + path);
  folders.push_back(mount);
  return folders;
}

}  // namespace

namespace cpu_detail {

double cgroupCpuLimit(const std::string& root) {
  double limit = 0;
  const auto take = [&](double quota, double period) {
    if (quota <= 0 || period <= 0) return;
    limit = limit == 0 ? quota / period : std::min(limit, quota / period);
  };
  for (const std::string& folder : cgroupFolders(root, "")) {
    std::istringstream text(readLine(folder + "/cpu.max"));
    double quota = 0, period = 0;
    if (text >> quota >> period) take(quota, period);
  }
  for (const std::string& folder : cgroupFolders(root, "cpu")) {
    take(static_cast<double>(readNumber(folder + "/cpu.cfs_quota_us", 0)),
         static_cast<double>(readNumber(folder + "/cpu.cfs_period_us", 0)));
  }
  return limit;
}

uint64_t cgroupMemoryLeft(const std::string& root) {
  constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();
  uint64_t left = kNone;
  // Page cache counts as used but is given back under pressure; a mapped model that was read before
  // is mostly that, and the active part of it as well once it was read twice.
  const auto take = [&](uint64_t limit, uint64_t used, uint64_t reclaimable) {
    if (limit == kNone || used == kNone) return;
    used -= std::min(used, reclaimable);
    left = std::min(left, limit > used ? limit - used : 0);
  };
  for (const std::string& folder : cgroupFolders(root, "")) {
    take(readNumber(folder + "/memory.max", kNone), readNumber(folder + "/memory.current", kNone),
         readKey(folder + "/memory.stat", "inactive_file") +
             readKey(folder + "/memory.stat", "active_file"));
  }
  for (const std::string& folder : cgroupFolders(root, "memory")) {
    take(readNumber(folder + "/memory.limit_in_bytes", kNone),
         readNumber(folder + "/memory.usage_in_bytes", kNone),
         readKey(folder + "/memory.stat", "total_inactive_file") +
             readKey(folder + "/memory.stat", "total_active_file"));
  }
  return left;
}

uint64_t memAvailable(const std::string& root) {
  const uint64_t kilobytes = readKey(root + "/proc/meminfo", "MemAvailable");
  return kilobytes == 0 ? std::numeric_limits<uint64_t>::max() : kilobytes * 1024;
}

int physicalCores(const std::string& root, const std::vector<int>& cpus) {
  std::set<std::string> cores;
  for (const int cpu : cpus) {
    const std::string topology =
        root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    std::string siblings = readLine(topology + "thread_siblings_list");
    cores.insert(siblings.empty() ? std::to_string(cpu) : siblings);
  }
  return static_cast<int>(cores.size());
}

}  // namespace cpu_detail

const CpuFeatures& cpuFeatures() {
  static const CpuFeatures features = detect();
  return features;
}

std::string cpuBrand() {
#if defined(__x86_64__)
  if (static_cast<uint32_t>(__get_cpuid_max(0x80000000u, nullptr)) >= 0x80000004u) {
    std::string brand;
    for (uint32_t leaf = 0x80000002u; leaf <= 0x80000004u; ++leaf) {
      const Registers r = cpuid(leaf, 0);
      for (const uint32_t word : {r.eax, r.ebx, r.ecx, r.edx}) {
        for (int byte = 0; byte < 4; ++byte) brand.push_back(static_cast<char>(word >> 8 * byte));
      }
    }
    brand.resize(brand.find('\0') == std::string::npos ? brand.size() : brand.find('\0'));
    const size_t first = brand.find_first_not_of(' ');
    const size_t last = brand.find_last_not_of(' ');
    if (first != std::string::npos) return brand.substr(first, last - first + 1);
  }
#endif
  return "unknown CPU";
}

int allowedThreads() {
  std::vector<int> cpus;
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
  }
#endif
  int threads = cpus.empty() ? static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))
                             : cpu_detail::physicalCores("", cpus);
  const double limit = cpu_detail::cgroupCpuLimit("");
  if (limit > 0) threads = std::min(threads, static_cast<int>(std::ceil(limit)));
  return std::max(1, threads);
}

uint64_t availableMemory() {
  return std::min(cpu_detail::memAvailable(""), cpu_detail::cgroupMemoryLeft(""));
}

}  // namespace baton
