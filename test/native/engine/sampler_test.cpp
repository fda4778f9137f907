// SPDX-License-Identifier: Apache-2.0
// The sampler against a plain one that sorts everything, and against the probabilities that it
// stands for.
#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "check.h"

using namespace baton;
using namespace baton::test;

namespace {

std::vector<float> randomLogits(std::mt19937& random, int vocab, bool ties) {
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(static_cast<size_t>(vocab));
  for (float& logit : logits) logit = ties ? std::round(normal(random)) : normal(random);
  return logits;
}

struct Choice {
  int32_t id;
  double probability;
};

// What may be drawn and how likely, most likely first: each filter on what the one before left.
std::vector<Choice> choices(std::vector<float> logits, const SamplerOptions& o,
                            const std::vector<int32_t>& history = {}) {
  std::vector<Choice> all;
  for (size_t i = 0; i < o.biasIds.size(); ++i)
    logits[static_cast<size_t>(o.biasIds[i])] += o.biases[i];
  for (size_t id = 0; id < logits.size(); ++id) {
    const auto count = std::count(history.begin(), history.end(), static_cast<int32_t>(id));
    if (count == 0) continue;
    float& logit = logits[id];
    logit *= logit > 0 ? 1 / o.repetitionPenalty : o.repetitionPenalty;
    logit -= o.presencePenalty + o.frequencyPenalty * static_cast<float>(count);
  }
  const float best = *std::max_element(logits.begin(), logits.end());
  for (size_t id = 0; id < logits.size(); ++id) {
    all.push_back(
        {static_cast<int32_t>(id), std::exp(double((logits[id] - best) / o.temperature))});
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Choice& a, const Choice& b) { return a.probability > b.probability; });
  const auto normalise = [&all] {
    double sum = 0;
    for (const Choice& one : all) sum += one.probability;
    for (Choice& one : all) one.probability /= sum;
  };
  if (o.topK > 0 && all.size() > static_cast<size_t>(o.topK))
    all.resize(static_cast<size_t>(o.topK));
  normalise();
  if (o.topP < 1) {
    double sum = 0;
    size_t kept = 0;
    while (kept < all.size() && sum < o.topP) sum += all[kept++].probability;
    all.resize(kept);
    normalise();
  }
  if (o.minP > 0) {
    const double floor = o.minP * all[0].probability;
    std::erase_if(all, [floor](const Choice& one) { return one.probability < floor; });
    normalise();
  }
  return all;
}

// Draws `draws` tokens from the same logits with one sampler.
std::map<int32_t, int> frequencies(const std::vector<float>& logits, const SamplerOptions& options,
                                   int draws, const std::vector<int32_t>& history = {}) {
  Sampler sampler(options);
  std::map<int32_t, int> found;
  for (int i = 0; i < draws; ++i) {
    std::vector<float> copy = logits;
    ++found[sampler.sample(copy.data(), static_cast<int>(copy.size()), history)];
  }
  return found;
}

}  // namespace

TEST("sampler: greedy takes the best, the lowest id among equals") {
  std::mt19937 random(1);
  for (int turn = 0; turn < 500; ++turn) {
    std::vector<float> logits = randomLogits(random, 1 + static_cast<int>(random() % 300), true);
    int32_t best = 0;
    for (size_t id = 0; id < logits.size(); ++id) {
      if (logits[id] > logits[static_cast<size_t>(best)]) best = static_cast<int32_t>(id);
    }
    Sampler sampler({});
    CHECK_EQ(sampler.sample(logits.data(), static_cast<int>(logits.size()), {}), best);
  }
}

TEST("sampler: draws follow the probabilities, and nothing else is ever drawn") {
  std::mt19937 random(2);
  const std::vector<SamplerOptions> settings{
      {.temperature = 1},
      {.temperature = 0.5f},
      {.temperature = 2, .topK = 5},
      {.temperature = 1, .topP = 0.8f},
      {.temperature = 1.5f, .minP = 0.1f},
      {.temperature = 1.2f, .topK = 8, .topP = 0.9f, .minP = 0.05f},
      {.temperature = 1, .topK = 1},
      {.temperature = 1, .topP = 1e-6f},
      {.temperature = 1, .minP = 1},
      {.temperature = 1, .presencePenalty = 1, .frequencyPenalty = 0.7f},
      {.temperature = 1, .biasIds = {0, 5, 9}, .biases = {2, -1, 4}},
      {.temperature = 1.1f,
       .topK = 9,
       .repetitionPenalty = 1.5f,
       .presencePenalty = -1,
       .biasIds = {3, 4},
       .biases = {-std::numeric_limits<float>::infinity(), 1}},
  };
  constexpr int kDraws = 20000;
  for (SamplerOptions options : settings) {
    for (int turn = 0; turn < 3; ++turn) {
      options.seed = random();
      const std::vector<float> logits = randomLogits(random, 14, false);
      const std::vector<int32_t> history{1, 7, 1, 3, 12, 1, 9};
      const std::vector<Choice> expected = choices(logits, options, history);
      std::map<int32_t, int> found = frequencies(logits, options, kDraws, history);
      double chiSquare = 0;
      int drawn = 0, cells = 0;
      for (const Choice& choice : expected) {
        const double mean = kDraws * choice.probability;
        const double difference = found[choice.id] - mean;
        if (mean >= 5) chiSquare += difference * difference / mean, ++cells;
        drawn += found[choice.id];
      }
      CHECK_EQ(drawn, kDraws);
      // Fixed seeds, so this never flickers: 13 degrees of freedom exceed 41 once in ten thousand
      // times.
      CHECK(cells > 0 && chiSquare < 41);
    }
  }
}

TEST("sampler: the set that a filter leaves, on a large vocabulary") {
  std::mt19937 random(4);
  for (const SamplerOptions& options :
       {SamplerOptions{.temperature = 3, .topP = 0.7f},
        SamplerOptions{.temperature = 3, .topK = 300},
        SamplerOptions{.temperature = 3, .minP = 0.2f},
        SamplerOptions{.temperature = 3, .topK = 1000, .topP = 0.95f}}) {
    // Flat enough that the nucleus is far larger than the portion that is sorted first.
    const std::vector<float> logits = randomLogits(random, 3000, false);
    const std::vector<Choice> expected = choices(logits, options);
    const std::map<int32_t, int> found = frequencies(logits, options, 20000);
    std::map<int32_t, double> allowed;
    for (const Choice& choice : expected) allowed[choice.id] = choice.probability;
    for (const auto& [id, count] : found) CHECK(allowed.contains(id));
    for (const auto& [id, probability] : allowed)
      CHECK(found.contains(id) || probability * 20000 < 20);
  }
}

TEST("sampler: the same seed gives the same tokens, another seed others") {
  std::mt19937 random(6);
  std::vector<std::vector<float>> rows;
  for (int i = 0; i < 50; ++i) rows.push_back(randomLogits(random, 200, false));
  const auto tokens = [&rows](uint64_t seed) {
    Sampler sampler({.temperature = 2, .topP = 0.9f, .seed = seed});
    std::vector<int32_t> found;
    for (std::vector<float> row : rows) found.push_back(sampler.sample(row.data(), 200, found));
    return found;
  };
  CHECK(tokens(1) == tokens(1));
  CHECK(tokens(1) != tokens(2));
}

TEST("sampler: penalties meet each token of the history, the frequency's once per occurrence") {
  const std::vector<float> given{3, -1, 0, 4, 2.5f};
  const std::vector<int32_t> history{3, 1, 3, 3, 2};
  // Changed logits, as differences of log-probabilities from token 0, which the history lacks.
  const auto expectLogits = [&](SamplerOptions options, const std::vector<float>& expected) {
    std::vector<float> logits = given;
    const auto best = std::max_element(expected.begin(), expected.end()) - expected.begin();
    CHECK_EQ(Sampler(options).sample(logits.data(), 5, history), static_cast<int32_t>(best));
    CHECK(logits == given);
    options.temperature = 1;
    Sampler sampler(options);
    sampler.sample(logits.data(), 5, history);
    std::vector<double> found(5);
    for (const Sampler::Choice& one : sampler.choices())
      found[static_cast<size_t>(one.id)] = one.probability;
    for (size_t id = 0; id < 5; ++id)
      CHECK_NEAR(std::log(found[id] / found[0]), expected[id] - 3, 1e-5);
  };
  expectLogits({}, given);
  expectLogits({.repetitionPenalty = 2}, {3, -2, 0, 2, 2.5f});
  expectLogits({.presencePenalty = 1.5f}, {3, -2.5f, -1.5f, 2.5f, 2.5f});
  expectLogits({.frequencyPenalty = 0.5f}, {3, -1.5f, -0.5f, 2.5f, 2.5f});
  expectLogits({.repetitionPenalty = 2, .presencePenalty = 1, .frequencyPenalty = -0.25f},
               {3, -2.75f, -0.75f, 1.75f, 2.5f});
  expectLogits({.repetitionPenalty = 2, .biasIds = {3, 4}, .biases = {4, -2}}, {3, -2, 0, 4, 0.5f});
}

TEST("sampler: a banned token never comes, whatever else is set") {
  const float never = -std::numeric_limits<float>::infinity();
  std::mt19937 random(8);
  for (SamplerOptions options :
       {SamplerOptions{}, SamplerOptions{.temperature = 5},
        SamplerOptions{.temperature = 5, .topK = 14},
        SamplerOptions{.temperature = 5, .topP = 0.99f},
        SamplerOptions{.temperature = 5, .minP = 1e-9f},
        SamplerOptions{.temperature = 5, .repetitionPenalty = 0.5f, .presencePenalty = -2}}) {
    std::vector<float> logits = randomLogits(random, 14, false);
    for (int32_t id = 0; id < 13; ++id) {  // one token is left in the end
      options.biasIds.push_back(id);
      options.biases.push_back(never);
      options.seed = static_cast<uint64_t>(id);
      Sampler sampler(options);
      for (int draw = 0; draw < 200; ++draw)
        CHECK(sampler.sample(logits.data(), 14, {0, 0, 3, 13}) > id);
    }
  }
}

TEST("sampler: first draws of neighbouring seeds follow the probabilities: n samples, n seeds") {
  std::mt19937 random(12);
  const std::vector<float> logits = randomLogits(random, 12, false);
  SamplerOptions options{.temperature = 1};
  const std::vector<Choice> expected = choices(logits, options);
  constexpr int kSeeds = 20000;
  std::map<int32_t, int> found;
  int repeats = 0;  // neighbours that drew the same
  int32_t before = -1;
  for (int seed = 0; seed < kSeeds; ++seed) {
    options.seed = static_cast<uint64_t>(seed);
    std::vector<float> copy = logits;
    const int32_t token = Sampler(options).sample(copy.data(), 12, {});
    ++found[token];
    repeats += token == before ? 1 : 0;
    before = token;
  }
  double chiSquare = 0, same = 0;
  for (const Choice& choice : expected) {
    const double mean = kSeeds * choice.probability;
    if (mean >= 5) chiSquare += (found[choice.id] - mean) * (found[choice.id] - mean) / mean;
    same += choice.probability * choice.probability;
  }
  CHECK(chiSquare < 39);  // 11 degrees of freedom: exceeded once in twenty thousand times
  // Neighbours are independent: five standard deviations of the number of repeats.
  CHECK_NEAR(repeats, kSeeds * same, 5 * std::sqrt(kSeeds * same * (1 - same)) + 1);
}

TEST("sampler: a temperature next to zero is greedy, not a division by it") {
  for (const float temperature :
       {1e-3f, 1e-20f, 1e-38f, std::numeric_limits<float>::denorm_min()}) {
    for (const SamplerOptions& options :
         {SamplerOptions{.temperature = temperature},
          SamplerOptions{.temperature = temperature, .topK = 3},
          SamplerOptions{.temperature = temperature, .topP = 0.9f},
          SamplerOptions{.temperature = temperature, .minP = 0.1f}}) {
      Sampler sampler(options);
      std::vector<float> logits{1, 20, 300, 25, -80, 299};
      CHECK_EQ(sampler.sample(logits.data(), 6, {}), 2);
    }
  }
}

TEST("sampler: logits that are no numbers give some token of the vocabulary") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (const std::vector<float>& bad :
       {std::vector<float>{nan, nan, nan}, {nan, 1, 2}, {-inf, -inf, -inf}, {inf, 0, inf}}) {
    for (const SamplerOptions& options :
         {SamplerOptions{}, SamplerOptions{.temperature = 1},
          SamplerOptions{.temperature = 1, .topK = 2, .topP = 0.5f, .minP = 0.5f}}) {
      Sampler sampler(options);
      std::vector<float> logits = bad;
      const int32_t token = sampler.sample(logits.data(), 3, {0, 1});
      CHECK(token >= 0 && token < 3);
    }
  }
}
