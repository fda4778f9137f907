// SPDX-License-Identifier: Apache-2.0
#include "engine/rope_table.h"

#include <algorithm>
#include <cmath>

namespace baton {

void RopeTable::grow(int limit) {
  if (limit <= limit_) return;
  limit = std::max({limit, 2 * limit_, 1024});
  const auto half = static_cast<size_t>(half_);
  cos_.resize(static_cast<size_t>(limit) * half);
  sin_.resize(static_cast<size_t>(limit) * half);
  for (size_t i = 0; i < half; ++i) {
    const double divisor = spec_.scale * (spec_.factors.empty() ? 1.0 : spec_.factors[i]);
    const double frequency = std::pow(spec_.base, -double(i) / double(half)) / divisor;
    for (auto p = static_cast<size_t>(limit_); p < static_cast<size_t>(limit); ++p) {
      const double angle = double(p) * frequency;
      cos_[p * half + i] = static_cast<float>(std::cos(angle));
      sin_[p * half + i] = static_cast<float>(std::sin(angle));
    }
  }
  limit_ = limit;
}

std::vector<RopeTable> ropeTables(const ModelConfig& config) {
  std::vector<RopeTable> tables;
  for (const RopeSpec& spec : config.ropes) tables.emplace_back(config.headDim, spec);
  return tables;
}

}  // namespace baton
