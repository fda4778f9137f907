// SPDX-License-Identifier: Apache-2.0
// Linux: /proc/meminfo, then cgroup v2 (memory.max) and v1 (memory.limit_in_bytes) from the process's group up to the
// root, since a limit may sit at any level. A file that cannot be read says nothing and is passed over.
#include "base/memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string_view>

namespace baton {
namespace {

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

// File names of one cgroup version, and where its tree stands below the cgroup root.
struct GroupFiles {
  const char* folder;
  const char* limit;
  const char* usage;
  const char* inactiveFile;  // fields of memory.stat: droppable file pages
  const char* activeFile;
};
constexpr GroupFiles kVersion2 = {"", "memory.max", "memory.current", "inactive_file",
                                  "active_file"};
constexpr GroupFiles kVersion1 = {"/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                  "total_inactive_file", "total_active_file"};

std::optional<uint64_t> readNumber(const std::string& path) {
  std::ifstream file(path);
  uint64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;  // absent, or "max"
}

// The number after `name` in a file of "name number" lines.
uint64_t readField(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  std::string word;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    uint64_t value = 0;
    if (words >> word >> value && word == name) return value;
  }
  return 0;
}

uint64_t freeOfGroup(const GroupFiles& files, const std::string& folder) {
  const auto limit = readNumber(folder + "/" + files.limit);
  const auto usage = readNumber(folder + "/" + files.usage);
  if (!limit || !usage) return kNoLimit;
  const std::string stat = folder + "/memory.stat";
  const uint64_t droppable = readField(stat, files.inactiveFile) + readField(stat, files.activeFile);
  const uint64_t held = *usage - std::min(*usage, droppable);
  return *limit - std::min(*limit, held);
}

uint64_t freeOfGroups(const GroupFiles& files, const std::string& cgroupRoot, std::string group) {
  const std::string base = cgroupRoot + files.folder;
  uint64_t least = freeOfGroup(files, base);
  while (!group.empty() && group != "/") {
    least = std::min(least, freeOfGroup(files, base + group));
    group.resize(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
  }
  return least;
}

}  // namespace

uint64_t availableMemory() { return availableMemory("/proc", "/sys/fs/cgroup"); }

uint64_t availableMemory(const std::string& procRoot, const std::string& cgroupRoot) {
  const uint64_t kilobytes = readField(procRoot + "/meminfo", "MemAvailable:");
  uint64_t least = kilobytes != 0 ? kilobytes * 1024 : kNoLimit;
  std::ifstream groups(procRoot + "/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // hierarchy:controllers:path
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    if (controllers.empty()) least = std::min(least, freeOfGroups(kVersion2, cgroupRoot, group));
    if (("," + controllers + ",").find(",memory,") != std::string::npos) {
      least = std::min(least, freeOfGroups(kVersion1, cgroupRoot, group));
    }
  }
  return least;
}

}  // namespace baton
