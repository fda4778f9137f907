// SPDX-License-Identifier: Apache-2.0
// Gradients against central differences of a forward that computes in float32 and whose outputs are
// weighed and summed in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "check.h"

namespace baton::test {

inline double dot(const float* a, const float* b, int n) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// `gradient` [x.size()] against (loss(x_i + h) - loss(x_i - h)) / 2h for every i. Bound: `relative`
// of the largest difference. h of 2^-8 leaves a truncation of about h^2 and a rounding of about
// 2^-24 / h of the size of the loss's terms.
template <class Loss>
void checkGradient(const std::string& what, std::vector<float>& x, const float* gradient,
                   const Loss& loss, double relative = 1e-3) {
  constexpr float kStep = 0x1p-8f;
  std::vector<double> differences;
  double largest = 0;
  for (float& value : x) {
    const float before = value;
    value = before + kStep;
    const float above = value;
    const double up = loss();
    value = before - kStep;
    const double down = loss();
    differences.push_back((up - down) / (static_cast<double>(above) - value));
    value = before;
    largest = std::max(largest, std::fabs(differences.back()));
  }
  double worst = 0;
  size_t at = 0;
  for (size_t i = 0; i < differences.size(); ++i) {
    const double error = std::fabs(gradient[i] - differences[i]);
    if (!(error <= worst)) worst = error, at = i;
  }
  expect(largest > 0 && worst <= relative * largest, __FILE__, __LINE__,
         what + ": gradient " + show(gradient[at]) + " of element " + std::to_string(at) +
             ", by differences " + show(differences[at]) + ", largest " + show(largest));
}

}  // namespace baton::test
