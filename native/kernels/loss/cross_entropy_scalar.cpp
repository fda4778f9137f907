// SPDX-License-Identifier: Apache-2.0
// Reference of cross_entropy.h.
#include <cmath>
#include <limits>

#include "kernels/variants.h"

namespace baton {

void crossEntropyScalar(const CrossEntropyArgs& a, int r0, int r1) {
  for (int r = r0; r < r1; ++r) {
    float* logits = a.logits + static_cast<size_t>(r) * a.V;
    float largest = -std::numeric_limits<float>::infinity();
    for (int v = 0; v < a.V; ++v) largest = logits[v] > largest ? logits[v] : largest;
    double sum = 0;  // a NaN is never the largest, but it is in the sum
    for (int v = 0; v < a.V; ++v) sum += std::exp(static_cast<double>(logits[v]) - largest);
    const int label = a.labels[r];
    a.loss[r] = static_cast<float>(std::log(sum) - (static_cast<double>(logits[label]) - largest));
    if (a.scale == nullptr) continue;
    for (int v = 0; v < a.V; ++v) {
      const double p = std::exp(static_cast<double>(logits[v]) - largest) / sum;
      logits[v] = static_cast<float>(a.scale[r] * (v == label ? p - 1 : p));
    }
  }
}

}  // namespace baton
