// SPDX-License-Identifier: Apache-2.0
// cross_entropy.h for every table that has it: against double precision at any size of
// logits and vocabulary, against finite differences, and what is not a number shows.
#include "kernels/loss/cross_entropy.h"

#include "gradients.h"
#include "support.h"

using namespace baton;
using namespace baton::test;

namespace {

// Loss and gradient (times scale) of one row in double precision.
double oracle(const float* logits, int V, int label, double scale, double* gradient) {
  double largest = -INFINITY, sum = 0;
  for (int v = 0; v < V; ++v) largest = std::max<double>(largest, logits[v]);
  for (int v = 0; v < V; ++v) sum += std::exp(logits[v] - largest);
  for (int v = 0; v < V; ++v) gradient[v] = scale * std::exp(logits[v] - largest) / sum;
  gradient[label] -= scale;
  return std::log(sum) + largest - logits[label];
}

void conform(const Ops& ops, int V, float size, uint32_t seed) {
  constexpr size_t kRows = 4;
  Random random(seed);
  const auto n = static_cast<size_t>(V);
  Misaligned<float> logits(kRows * n, 1);
  random.fill(logits);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] *= size;
  if (V > 4) logits[n + 3] = logits[2 * n] = -kInfinity;
  logits[0] = kNan;  // row 0 is nobody's
  const std::vector<float> before(logits.data(), logits.data() + logits.size());
  const int32_t labels[kRows] = {0, static_cast<int32_t>(random.below(static_cast<uint32_t>(V))),
                                 V - 1, V / 2};
  const float scale[kRows] = {1, 0.125f, -3, 1};
  float loss[kRows] = {9, 9, 9, 9}, only[kRows] = {9, 9, 9, 9};
  ops.crossEntropy({logits.data(), labels, nullptr, only, V}, 1, 4);
  CHECK(sameBits(logits.data(), before.data(), before.size()));
  ops.crossEntropy({logits.data(), labels, scale, loss, V}, 1, 4);
  CHECK(sameBits(loss, only, kRows) && loss[0] == 9);
  CHECK(sameBits(logits.data(), before.data(), n));
  const std::string what =
      std::string(isaName(ops.isa)) + " V=" + std::to_string(V) + " size=" + show(size);
  for (size_t r = 1; r < kRows; ++r) {
    std::vector<double> want(n), bound(n);
    const float* row = before.data() + r * n;
    const double exact = oracle(row, V, labels[r], scale[r], want.data());
    const float largest = *std::max_element(row, row + V);
    if (row[labels[r]] == -kInfinity) {
      CHECK_EQ(loss[r], kInfinity);
    } else {
      CHECK_NEAR(loss[r], exact, 1e-6 + 2e-7 * std::fabs(exact));
    }
    for (size_t v = 0; v < n; ++v) {
      // exp has 2e-7, its argument a rounding of its size; the label's own is a difference with 1.
      const double shift = std::min(90.0, static_cast<double>(largest) - row[v]);
      bound[v] = std::fabs(want[v]) * (1e-6 + kEpsilon * 2 * shift) + 1e-30 +
                 std::fabs(scale[r]) * (static_cast<int>(v) == labels[r] ? 2e-6 : 1e-37);
    }
    checkWithin(what + " gradient", logits.data() + r * n, want.data(), bound.data(), n);
  }
}

}  // namespace

TEST("crossEntropy: sizes of vocabulary and of logits against double precision") {
  uint32_t seed = 50;
  for (const Ops* ops : tablesWith(&Ops::crossEntropy)) {
    for (const int V : {1, 2, 7, 8, 9, 31, 33, 100, 1000, 49152}) {
      for (const float size : {1.0f, 0.01f, 30.0f, 1e4f, 1e30f}) conform(*ops, V, size, ++seed);
    }
  }
}

TEST("crossEntropy: finite differences") {
  constexpr int kV = 30;
  for (const Ops* ops : tablesWith(&Ops::crossEntropy)) {
    Random random(8);
    std::vector<float> logits(kV), gradient;
    random.fill(logits);
    const int32_t label = 11;
    float loss = 0;
    const float scale = 2.5f;
    gradient = logits;
    ops->crossEntropy({gradient.data(), &label, &scale, &loss, kV}, 0, 1);
    checkGradient(std::string(isaName(ops->isa)) + " crossEntropy", logits, gradient.data(), [&] {
      ops->crossEntropy({logits.data(), &label, nullptr, &loss, kV}, 0, 1);
      return static_cast<double>(scale) * loss;
    });
  }
}

TEST("crossEntropy: a NaN or an infinite logit anywhere makes the loss NaN") {
  constexpr int kV = 77;
  for (const Ops* ops : tablesWith(&Ops::crossEntropy)) {
    for (const float bad : {kNan, -kNan, kInfinity}) {
      for (const int at : {0, 5, 31, 32, 70, 76}) {
        std::vector<float> logits(kV, 0.5f);
        logits[static_cast<size_t>(at)] = bad;
        const int32_t label = 40;
        float loss = 0;
        ops->crossEntropy({logits.data(), &label, nullptr, &loss, kV}, 0, 1);
        CHECK(std::isnan(loss));
      }
    }
  }
}
