// SPDX-License-Identifier: Apache-2.0
// cos and sin of position times frequency (arXiv 2104.09864; RopeSpec has the formula). Angles are
// formed in double: a shifted read relies on R(p - s) being the exact product of R(p) and R(-s) up
// to float rounding, at any position.
#pragma once

#include <utility>
#include <vector>

#include "model/model.h"

namespace baton {

class RopeTable {
 public:
  RopeTable(int headDim, RopeSpec spec) : half_(headDim / 2), spec_(std::move(spec)) {}

  // Makes positions -limit+1 .. limit-1 available (negative ones by symmetry). Not during a
  // forward.
  void grow(int limit);

  int limit() const { return limit_; }
  const float* cos() const { return cos_.data(); }  // [limit, D / 2]
  const float* sin() const { return sin_.data(); }  // [limit, D / 2]

 private:
  int half_;
  RopeSpec spec_;
  int limit_ = 0;
  std::vector<float> cos_, sin_;
};

// Of the model's ropes, with no position yet.
std::vector<RopeTable> ropeTables(const ModelConfig& config);

}  // namespace baton
