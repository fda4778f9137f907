// SPDX-License-Identifier: Apache-2.0
// cos and sin of position times frequency, theta_i = base^(-2i / D) (arXiv 2104.09864). Angles are
// formed in double: a shifted read relies on R(p - s) being the exact product of R(p) and R(-s) up
// to float rounding, at any position.
#pragma once

#include <vector>

namespace baton {

class RopeTable {
 public:
  RopeTable(int headDim, double base) : half_(headDim / 2), base_(base) {}

  // Makes positions -limit+1 .. limit-1 available (negative ones by symmetry). Not during a
  // forward.
  void grow(int limit);

  int limit() const { return limit_; }
  const float* cos() const { return cos_.data(); }  // [limit, D / 2]
  const float* sin() const { return sin_.data(); }  // [limit, D / 2]

 private:
  int half_;
  double base_;
  int limit_ = 0;
  std::vector<float> cos_, sin_;
};

}  // namespace baton
