// SPDX-License-Identifier: Apache-2.0
// What the process may use, against stated /proc and /sys trees and against the machine itself.
#include "base/cpu.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>

#include "check.h"

using namespace baton;
using namespace baton::cpu_detail;

namespace {

constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();

// A folder that stands for the root of the file system, removed at the end.
class FakeRoot {
 public:
  FakeRoot() {
    std::string pattern = (std::filesystem::temp_directory_path() / "baton-cpu-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw test::Skipped{"no temporary folder"};
    path_ = pattern;
  }
  ~FakeRoot() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  void write(const std::string& file, const std::string& text) {
    const std::filesystem::path full = path_ + file;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

bool has(const char* name) {
  const auto& names = cpuFeatures().names;
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

TEST("cpu: features are consistent with each other") {
  if (cpuFeatures().avx2) CHECK(has("avx2") && has("fma") && has("f16c"));
  if (cpuFeatures().avx512) CHECK(cpuFeatures().avx2 && has("avx512f") && has("avx512_vnni"));
  if (has("avx2")) CHECK(has("avx"));
  CHECK(!cpuBrand().empty());
}

TEST("cpu: features agree with what Linux lists") {
  std::ifstream file("/proc/cpuinfo");
  std::string flags;
  while (std::getline(file, flags) && !flags.starts_with("flags")) {
  }
  if (flags.empty()) SKIP("/proc/cpuinfo lists no flags here");
  flags += " ";
  for (const char* name :
       {"avx", "avx2", "fma", "f16c", "bmi2", "avx512f", "avx512bw", "avx512dq", "avx512vl",
        "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16", "sha_ni"}) {
    CHECK_EQ(has(name), flags.find(std::string(" ") + name + " ") != std::string::npos);
  }
}

TEST("cpu: cgroup v2 quotas of the group and of its parents") {
  FakeRoot root;
  root.write("/proc/self/cgroup", "0::/outer/inner\n");
  CHECK_EQ(cgroupCpuLimit(root.path()), 0.0);
  CHECK_EQ(cgroupMemoryLeft(root.path()), kNone);
  root.write("/sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n");
  CHECK_EQ(cgroupCpuLimit(root.path()), 0.0);
  root.write("/sys/fs/cgroup/outer/cpu.max", "150000 100000\n");
  CHECK_EQ(cgroupCpuLimit(root.path()), 1.5);
  root.write("/sys/fs/cgroup/outer/inner/memory.max", "1000000\n");
  root.write("/sys/fs/cgroup/outer/inner/memory.current", "700000\n");
  CHECK_EQ(cgroupMemoryLeft(root.path()), 300000u);
  root.write("/sys/fs/cgroup/outer/inner/memory.stat", "anon 1\ninactive_file 200000\n");
  CHECK_EQ(cgroupMemoryLeft(root.path()), 500000u);
  root.write("/sys/fs/cgroup/outer/inner/memory.stat", "active_file 50000\ninactive_file 200000\n");
  CHECK_EQ(cgroupMemoryLeft(root.path()), 550000u);
  root.write("/sys/fs/cgroup/memory.max", "400000\n");
  root.write("/sys/fs/cgroup/memory.current", "500000\n");
  CHECK_EQ(cgroupMemoryLeft(root.path()), 0u);
}

TEST("cpu: cgroup v1 quotas, with unlimited written as -1") {
  FakeRoot root;
  root.write("/proc/self/cgroup", "5:cpu,cpuacct:/job\n4:memory:/job\n");
  root.write("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "-1\n");
  root.write("/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
  CHECK_EQ(cgroupCpuLimit(root.path()), 0.0);
  root.write("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "250000\n");
  CHECK_EQ(cgroupCpuLimit(root.path()), 2.5);
  root.write("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "5000\n");
  root.write("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "1000\n");
  CHECK_EQ(cgroupMemoryLeft(root.path()), 4000u);
}

TEST("cpu: siblings of one core count once") {
  FakeRoot root;
  for (const char* cpu : {"0", "4"}) {
    root.write(std::string("/sys/devices/system/cpu/cpu") + cpu + "/topology/thread_siblings_list",
               "0,4\n");
  }
  CHECK_EQ(physicalCores(root.path(), {0, 4}), 1);
  CHECK_EQ(physicalCores(root.path(), {0, 4, 7}), 2);  // 7 has no topology: a core of its own
}

TEST("cpu: memory and threads of this machine") {
  FakeRoot root;
  CHECK_EQ(memAvailable(root.path()), kNone);
  root.write("/proc/meminfo", "MemTotal:  100 kB\nMemAvailable:   64 kB\n");
  CHECK_EQ(memAvailable(root.path()), 65536u);
  CHECK(allowedThreads() >= 1);
  CHECK(availableMemory() > 0);
}
