// SPDX-License-Identifier: Apache-2.0
#include "base/warnings.h"

#include <mutex>
#include <utility>

namespace baton {
namespace {

constexpr size_t kMost = 64;

struct Pending {
  std::mutex mutex;
  std::vector<Error> warnings;
};

Pending& pending() {
  static Pending instance;
  return instance;
}

}  // namespace

void warn(Error warning) {
  Pending& all = pending();
  const std::lock_guard lock(all.mutex);
  if (all.warnings.size() < kMost) all.warnings.push_back(std::move(warning));
}

std::vector<Error> takeWarnings() {
  Pending& all = pending();
  const std::lock_guard lock(all.mutex);
  return std::exchange(all.warnings, {});
}

}  // namespace baton
