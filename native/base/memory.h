// SPDX-License-Identifier: Apache-2.0
// How much memory this process may still take: the least of what the system calls available and of what each memory
// cgroup around the process leaves. File pages that a cgroup can drop count as free, as the system's own figure does.
#pragma once

#include <cstdint>
#include <string>

namespace baton {

// Bytes; the largest number when nothing says a limit.
uint64_t availableMemory();

// The same, read below other roots than /proc and /sys/fs/cgroup; for tests.
uint64_t availableMemory(const std::string& procRoot, const std::string& cgroupRoot);

}  // namespace baton
