// SPDX-License-Identifier: Apache-2.0
// Passes over logits in blocks and lanes against the standard library, one number after the other.
#include "engine/logit_row.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "check.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> logitsOf(std::mt19937& random, int vocab, bool ties) {
  std::normal_distribution<float> normal(0, 6);
  std::vector<float> logits(static_cast<size_t>(vocab));
  for (float& logit : logits) logit = ties ? std::round(normal(random)) : normal(random);
  return logits;
}

}  // namespace

TEST("logit row: argmax is the first of the largest, at any length, NaN aside") {
  std::mt19937 random(1);
  for (int turn = 0; turn < 2000; ++turn) {
    const int vocab = 1 + static_cast<int>(random() % 400);
    std::vector<float> logits = logitsOf(random, vocab, turn % 2 == 0);
    const auto expected = std::max_element(logits.begin(), logits.end()) - logits.begin();
    CHECK_EQ(argmax(logits.data(), vocab), static_cast<int32_t>(expected));
    for (int i = 0; i < 3; ++i) {
      const auto at = static_cast<std::ptrdiff_t>(random() % static_cast<unsigned>(vocab));
      if (at != expected) logits[static_cast<size_t>(at)] = kNan;
    }
    CHECK_EQ(argmax(logits.data(), vocab), static_cast<int32_t>(expected));
  }
  const std::vector<float> lowest(70, -kInfinity), none(70, kNan);
  CHECK_EQ(argmax(lowest.data(), 70), 0);
  CHECK_EQ(argmax(none.data(), 70), 0);
}

TEST("logit row: at least as many logits as asked for reach the number, and few more") {
  std::mt19937 random(2);
  std::vector<float> scratch;
  for (const int vocab : {1, 63, 64, 65, 1000, 49152}) {
    for (const int count : {1, 2, 40, 256, 5000}) {
      const std::vector<float> logits = logitsOf(random, vocab, count == 40);
      const float floor = atLeast(logits.data(), vocab, count, scratch);
      const auto reach =
          std::count_if(logits.begin(), logits.end(), [floor](float one) { return one >= floor; });
      CHECK(reach >= std::min(count, vocab));
      // Without ties a number among hundreds of blocks lets through little more than asked for.
      if (vocab == 49152 && count == 256) CHECK(reach < 2 * count);
    }
  }
}

TEST("logit row: weights are the exponentials of the distances, their sums those of the blocks") {
  std::mt19937 random(3);
  for (const int vocab : {1, 64, 100, 3000}) {
    for (const float temperature : {0.1f, 0.8f, 1.0f, 7.0f}) {
      const std::vector<float> logits = logitsOf(random, vocab, false);
      const float best = *std::max_element(logits.begin(), logits.end());
      std::vector<float> weights(logits.size());
      std::vector<double> sums((logits.size() + kLogitBlock - 1) / kLogitBlock);
      const double total =
          weigh(logits.data(), vocab, best, temperature, weights.data(), sums.data());
      double expected = 0, blocks = 0;
      for (size_t i = 0; i < logits.size(); ++i) {
        const double weight = std::exp(double((logits[i] - best) / temperature));
        expected += weight;
        CHECK_NEAR(weights[i], weight, 3e-7 * weight + 1e-37);
      }
      for (const double sum : sums) blocks += sum;
      CHECK_NEAR(total, expected, 3e-7 * expected);
      CHECK_NEAR(blocks, total, 1e-12 * total);
    }
  }
}

TEST("logit row: weights at the edges: the best itself, far away, infinitely far, no number") {
  const std::vector<float> logits{0, -86.9f, -87.4f, -1e30f, -kInfinity, kNan, -3e38f};
  float weights[7];
  double sum[1];
  for (const float temperature : {1.0f, std::numeric_limits<float>::denorm_min()}) {
    weigh(logits.data(), 7, 0, temperature, weights, sum);
    CHECK_EQ(weights[0], 1.0f);
    for (const int far : {2, 3, 4, 6}) CHECK_EQ(weights[far], 0.0f);
    CHECK(std::isnan(weights[5]));
  }
}
