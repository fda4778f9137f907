// SPDX-License-Identifier: Apache-2.0
// Reference of adamw.h.
#include <algorithm>
#include <cmath>

#include "kernels/variants.h"

namespace baton {
namespace {

constexpr int kNeighbours = 32;

template <class Term>
double sumInLanes(int count, const Term& term) {
  double lanes[kAdamWLanes] = {};
  for (int i = 0; i < count; ++i) lanes[i % kAdamWLanes] += term(i);
  double total = 0;
  for (int first = 0; first < kAdamWLanes; first += kNeighbours) {
    for (int half = kNeighbours / 2; half > 0; half /= 2) {
      for (int l = first; l < first + half; ++l) lanes[l] += lanes[l + half];
    }
    total += lanes[first];
  }
  return total;
}

}  // namespace

void squareSumsScalar(const AdamWArgs& a, int p0, int p1) {
  for (int p = p0; p < p1; ++p) {
    const float* gradient = a.gradient + static_cast<size_t>(p) * kAdamWPiece;
    const int count = std::min(kAdamWPiece, a.n - p * kAdamWPiece);
    a.sums[p] = sumInLanes(count, [&](int i) {
      const double g = gradient[i];
      return g * g;
    });
  }
}

void adamwScalar(const AdamWArgs& a, int p0, int p1) {
  const double norm = std::sqrt(sumInLanes(adamWPieces(a.n), [&](int p) { return a.sums[p]; }));
  if (p0 == 0) a.report[0] = norm;
  const double scale = a.maxNorm / (norm + 1e-6);
  for (int p = p0; p < p1; ++p) {
    const int begin = p * kAdamWPiece, end = begin + std::min(kAdamWPiece, a.n - begin);
    int bad = 0;
    for (int i = begin; i < end && std::isfinite(norm); ++i) {
      const double g = scale < 1 ? static_cast<float>(a.gradient[i] * scale) : a.gradient[i];
      const double m = a.first[i] * a.beta1 + g * (1 - a.beta1);
      const double v = a.second[i] * a.beta2 + g * g * (1 - a.beta2);
      a.first[i] = static_cast<float>(m);
      a.second[i] = static_cast<float>(v);
      a.value[i] = static_cast<float>(a.value[i] * a.kept -
                                      a.stepSize * m / (std::sqrt(v) / a.secondScale + a.epsilon));
      bad += std::isfinite(a.value[i]) ? 0 : 1;
    }
    a.report[1 + p] = bad;
  }
}

}  // namespace baton
