// SPDX-License-Identifier: Apache-2.0
// The sampler and the log-probabilities against transformers' logits processors and PyTorch.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "engine/logprobs.h"
#include "engine/sampler.h"
#include "fixture.h"

using namespace baton;
using namespace baton::test;

namespace {

struct DrawCase {
  std::vector<float> logits;
  std::vector<int32_t> history;
  SamplerOptions options;
  std::vector<float> probabilities;  // [V]
  std::vector<float> logprobs;       // [V]
  std::vector<int32_t> top;          // likeliest first
};

template <class T>
std::vector<T> rowOf(const Rows<T>& rows, size_t index) {
  return std::vector<T>(rows.row(index), rows.row(index) + rows.columns);
}

std::vector<int32_t> known(const std::vector<int32_t>& padded) {
  return std::vector<int32_t>(padded.begin(), std::find(padded.begin(), padded.end(), -1));
}

std::vector<DrawCase> fixtureSamples() {
  const FixtureFile file("sampling");
  const Rows<float> logits = file.floats("logits"), options = file.floats("options");
  const Rows<float> biases = file.floats("biases"), probabilities = file.floats("probabilities");
  const Rows<float> logprobs = file.floats("logprobs");
  const Rows<int32_t> history = file.ints("history"), biasIds = file.ints("biasIds");
  const Rows<int32_t> banned = file.ints("banned"), top = file.ints("top");
  std::vector<DrawCase> cases;
  for (size_t i = 0; i < logits.rows; ++i) {
    DrawCase one{rowOf(logits, i),        known(rowOf(history, i)), {},
                 rowOf(probabilities, i), rowOf(logprobs, i),       rowOf(top, i)};
    SamplerOptions& o = one.options;
    const float* values = options.row(i);
    o.temperature = values[0];
    o.topK = static_cast<int>(values[1]);
    o.topP = values[2];
    o.minP = values[3];
    o.repetitionPenalty = values[4];
    o.presencePenalty = values[5];
    o.frequencyPenalty = values[6];
    o.biasIds = known(rowOf(biasIds, i));
    o.biases.assign(biases.row(i), biases.row(i) + o.biasIds.size());
    for (const int32_t id : known(rowOf(banned, i))) {
      o.biasIds.push_back(id);
      o.biases.push_back(-std::numeric_limits<float>::infinity());
    }
    o.seed = i;
    cases.push_back(std::move(one));
  }
  return cases;
}

}  // namespace

TEST("sampler: bias, penalties, temperature and filters leave what transformers' processors do") {
  for (DrawCase& one : fixtureSamples()) {
    const int vocab = static_cast<int>(one.logits.size());
    const std::vector<float> before = one.logits;
    Sampler sampler(one.options);
    const int32_t token = sampler.sample(one.logits.data(), vocab, one.history);
    CHECK(one.probabilities[static_cast<size_t>(token)] > 0);
    CHECK(one.logits == before);
    std::vector<double> found(one.logits.size());
    for (const Sampler::Choice& choice : sampler.choices())
      found[static_cast<size_t>(choice.id)] = choice.probability;
    for (size_t id = 0; id < found.size(); ++id) {
      CHECK_EQ(found[id] > 0, one.probabilities[id] > 0);
      CHECK_NEAR(found[id], one.probabilities[id], 1e-6 + 1e-5 * one.probabilities[id]);
    }
    one.options.temperature = 0;
    const auto best = std::max_element(one.probabilities.begin(), one.probabilities.end());
    CHECK_EQ(Sampler(one.options).sample(one.logits.data(), vocab, one.history),
             static_cast<int32_t>(best - one.probabilities.begin()));
  }
}

TEST("logprobs: of the chosen token and of the likeliest, as PyTorch's log_softmax and topk") {
  for (const DrawCase& one : fixtureSamples()) {
    const int vocab = static_cast<int>(one.logits.size());
    for (const int top : {0, 1, 5, 20}) {
      Logprobs logprobs;
      logprobs.top = top;
      for (int32_t token = 0; token < vocab; token += 7)
        logprobs.add(one.logits.data(), vocab, token);
      const size_t places = logprobs.chosen.size();
      CHECK_EQ(logprobs.topIds.size(), places * static_cast<size_t>(top));
      CHECK_EQ(logprobs.topLogprobs.size(), places * static_cast<size_t>(top));
      for (size_t i = 0; i < places; ++i) {
        CHECK_NEAR(logprobs.chosen[i], one.logprobs[7 * i], 2e-6);
        for (size_t k = 0; k < static_cast<size_t>(top); ++k) {
          const size_t at = i * static_cast<size_t>(top) + k;
          CHECK_EQ(logprobs.topIds[at], one.top[k]);
          CHECK_NEAR(logprobs.topLogprobs[at], one.logprobs[static_cast<size_t>(one.top[k])], 2e-6);
        }
      }
    }
  }
}

TEST("logprobs: equal logits in the order of their ids; a large offset changes nothing") {
  const std::vector<float> logits{1, 7, 3, 7, 7, 2};
  for (const float offset : {0.0f, 4096.0f, -4096.0f}) {
    std::vector<float> moved = logits;
    for (float& logit : moved) logit += offset;
    Logprobs logprobs;
    logprobs.top = 4;
    logprobs.add(moved.data(), 6, 2);
    CHECK(logprobs.topIds == (std::vector<int32_t>{1, 3, 4, 2}));
    CHECK_NEAR(logprobs.chosen[0], -5.1075, 1e-3);
    CHECK_NEAR(logprobs.topLogprobs[3], logprobs.chosen[0], 0);
  }
}

TEST("logprobs: slices and joins keep rows together; NaN logits stay inside the array") {
  Logprobs all;
  all.top = 2;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::vector<float>> rows{{0, 1, 2}, {5, 4, 3}, {nan, nan, nan}, {1, 9, 1}};
  for (const std::vector<float>& row : rows) all.add(row.data(), 3, 1);
  CHECK_EQ(all.topIds.size(), 8u);
  for (const int32_t id : all.topIds) CHECK(id >= 0 && id < 3);
  Logprobs joined = all.slice(0, 1);
  joined.append(all.slice(1, 1));
  CHECK(joined.topIds == (std::vector<int32_t>{2, 1, 0, 1}));
  CHECK(joined.chosen == std::vector<float>(all.chosen.begin(), all.chosen.begin() + 2));
  CHECK_EQ(all.slice(3, 1).topIds[0], 1);
  Logprobs none;
  CHECK(none.slice(0, 5).chosen.empty());
}
