// SPDX-License-Identifier: Apache-2.0
// Sampling on the device against the engine's sampler: the same candidates with the same shares,
// and of these the token that a random number stands for.
#include "cuda/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "check.h"
#include "engine/sampler.h"
#include "kernels/support.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();

std::vector<float> randomLogits(Random& random, int vocab, bool ties) {
  std::vector<float> logits(static_cast<size_t>(vocab));
  random.fill(logits);
  for (float& logit : logits) logit = ties ? std::round(2 * logit) : 3 * logit;
  return logits;
}

// Options, and what stands in the output so far, as the kernel takes them.
struct Request {
  SamplerOptions options;
  std::vector<int32_t> history = {};

  std::vector<SampleEdit> edits() const {
    std::map<int32_t, SampleEdit> byId;
    for (size_t i = 0; i < options.biasIds.size(); ++i)
      byId[options.biasIds[i]] = {options.biasIds[i], options.biases[i], 0};
    for (const int32_t id : history) {
      SampleEdit& one = byId[id];
      one.id = id;
      ++one.count;
    }
    std::vector<SampleEdit> all;
    for (const auto& [id, one] : byId) all.push_back(one);
    return all;
  }
};

struct Drawn {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
};

// A row for each random number, all with the same logits, which must be there afterwards.
Drawn drawRows(const std::vector<float>& row, const Request& request,
               const std::vector<uint64_t>& numbers) {
  const size_t R = numbers.size(), V = row.size();
  std::vector<float> logits;
  for (size_t r = 0; r < R; ++r) logits.insert(logits.end(), row.begin(), row.end());
  std::vector<SampleEdit> edits;
  std::vector<SampleRow> rows;
  const SamplerOptions& o = request.options;
  for (const uint64_t number : numbers) {
    const auto begin = static_cast<int32_t>(edits.size());
    for (const SampleEdit& one : request.edits()) edits.push_back(one);
    rows.push_back({static_cast<int32_t>(rows.size()), o.temperature, o.topK, o.topP, o.minP,
                    o.repetitionPenalty, o.presencePenalty, o.frequencyPenalty, begin,
                    static_cast<int32_t>(edits.size()), number});
  }
  std::vector<float> replaced(edits.size());
  Drawn out{std::vector<int32_t>(R, -1), std::vector<float>(R, kNan)};
  std::vector<float> before = logits;
  sampleCuda({.logits = logits.data(),
              .V = static_cast<int>(V),
              .rows = rows.data(),
              .edits = edits.data(),
              .replaced = replaced.data(),
              .tokens = out.tokens.data(),
              .logprobs = out.logprobs.data()},
             0, static_cast<int>(R));
  CHECK(sameBits(logits.data(), before.data(), logits.size()));
  return out;
}

// In the order of ids.
std::vector<Sampler::Choice> choicesOf(std::vector<float> logits, const Request& request) {
  Sampler sampler(request.options);
  sampler.sample(logits.data(), static_cast<int>(logits.size()), request.history);
  std::vector<Sampler::Choice> all = sampler.choices();
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return all;
}

std::vector<uint64_t> numbersFrom(uint32_t seed, int count) {
  std::mt19937_64 random(seed);
  std::vector<uint64_t> numbers{0, ~uint64_t{0}};
  while (numbers.size() < static_cast<size_t>(count)) numbers.push_back(random());
  return numbers;
}

void checkDraws(const std::string& what, const std::vector<float>& logits, const Request& request,
                const std::vector<uint64_t>& numbers) {
  const std::vector<Sampler::Choice> choices = choicesOf(logits, request);
  const Drawn got = drawRows(logits, request, numbers);
  int compared = 0;
  for (size_t r = 0; r < numbers.size(); ++r) {
    const double u = static_cast<double>(numbers[r]) * 0x1p-64;
    double sum = 0;
    int32_t expected = choices.back().id;
    bool close = u > 1 - 1e-5;  // to where one token ends: exponentials differ in their last digits
    for (const Sampler::Choice& one : choices) {
      sum += one.probability;
      close = close || std::fabs(sum - u) < 1e-5;
      if (sum <= u) continue;
      expected = one.id;
      break;
    }
    if (close) continue;
    ++compared;
    expect(got.tokens[r] == expected, __FILE__, __LINE__,
           what + ": number " + std::to_string(r) + " gave " + std::to_string(got.tokens[r]) +
               " instead of " + std::to_string(expected));
  }
  expect(compared > static_cast<int>(numbers.size()) / 2, __FILE__, __LINE__,
         what + ": too few numbers lie inside a token's share");
}

}  // namespace

TEST("sample: draws what the engine's sampler would, by every filter and with ties") {
  Random random(7);
  for (const bool ties : {false, true}) {
    for (const int vocab : {7, 700}) {
      const std::vector<float> logits = randomLogits(random, vocab, ties);
      for (const int topK : {0, 1, 40, 4000}) {
        for (const float topP : {1.0f, 0.6f}) {
          for (const float minP : {0.0f, 0.05f}) {
            Request request{{.temperature = 0.8f, .topK = topK, .topP = topP, .minP = minP}};
            const std::string what = std::to_string(vocab) + " logits, top-k " +
                                     std::to_string(topK) + ", top-p " + show(topP) + ", min-p " +
                                     show(minP) + (ties ? ", ties" : "");
            checkDraws(what, logits, request, numbersFrom(11, 5));
          }
        }
      }
    }
  }
}

// Rows in another order than that of the logits, each with what its output has so far.
TEST("sample: takes the tokens that the engine's sampler takes with the same seed") {
  Random random(21);
  const int vocab = 500, count = 6;
  std::vector<SamplerOptions> all(count);
  all[1].temperature = 0.9f;
  all[2].temperature = 1.1f;
  all[2].topK = 30;
  all[2].topP = 0.9f;
  all[3].temperature = 0.7f;
  all[3].topP = 0.8f;
  all[3].minP = 0.02f;
  all[3].repetitionPenalty = 1.3f;
  all[4].temperature = 1.5f;
  all[4].minP = 0.05f;
  all[4].frequencyPenalty = 0.4f;
  all[4].biasIds = {7, 11};
  all[4].biases = {2.0f, kNothing};
  all[5].presencePenalty = 0.5f;
  std::vector<Sampler> here, there;
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].seed = 100 + i;
    here.emplace_back(all[i]);
    there.emplace_back(all[i]);
  }
  std::vector<std::vector<int32_t>> outputs(count);
  for (int step = 0; step < 30; ++step) {
    std::vector<float> logits(static_cast<size_t>(count * vocab));
    random.fill(logits);
    for (float& logit : logits) logit *= 3;
    std::vector<SampleRow> rows;
    std::vector<SampleEdit> edits;
    for (int i = count; i-- > 0;) {
      rows.push_back(there[static_cast<size_t>(i)].request(outputs[static_cast<size_t>(i)], edits));
      rows.back().row = i;
    }
    std::vector<float> replaced(edits.size()), logprobs(count, kNan);
    std::vector<int32_t> tokens(count, -1);
    sampleCuda({.logits = logits.data(),
                .V = vocab,
                .rows = rows.data(),
                .edits = edits.data(),
                .replaced = replaced.data(),
                .tokens = tokens.data(),
                .logprobs = logprobs.data()},
               0, count);
    std::vector<SampleWanted> wanted;
    for (size_t i = 0; i < all.size(); ++i)
      wanted.push_back({static_cast<int>(i), &here[i], &outputs[i], true});
    std::vector<Sampled> want(count);
    sampleRows(logits.data(), vocab, wanted.data(), count, want.data());
    for (size_t i = 0; i < all.size(); ++i) {
      const size_t at = all.size() - 1 - i;
      expect(tokens[at] == want[i].token, __FILE__, __LINE__,
             "step " + std::to_string(step) + ", options " + std::to_string(i));
      CHECK_NEAR(logprobs[at], want[i].logprob, 1e-5);
      outputs[i].push_back(want[i].token);
    }
  }
}

TEST("sample: biases and penalties change what is drawn, and the logits are put back") {
  Random random(8);
  const std::vector<float> logits = randomLogits(random, 900, false);
  const auto best =
      static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  Request request;
  request.options = {.temperature = 1.3f, .topP = 0.95f, .repetitionPenalty = 1.4f};
  request.options.presencePenalty = 0.3f;
  request.options.frequencyPenalty = 0.2f;
  request.options.biasIds = {best, 5, 6};
  request.options.biases = {kNothing, 4.0f, -2.0f};
  request.history = {5, 9, 9, 9, 700};
  checkDraws("penalties", logits, request, numbersFrom(12, 20));
  request.options.temperature = 0;
  Sampler greedy(request.options);
  std::vector<float> row = logits;
  CHECK_EQ(drawRows(logits, request, {3}).tokens[0],
           greedy.sample(row.data(), 900, request.history));
}

TEST("sample: greedy takes the lowest id of the largest, never a NaN, and 0 where there is none") {
  std::vector<float> logits(1200, -3.0f);
  logits[0] = logits[1] = logits[900] = kNan;
  logits[700] = logits[901] = 2.5f;
  const Request greedy{{.temperature = 0}};
  CHECK_EQ(drawRows(logits, greedy, {1}).tokens[0], 700);
  const Request warm{{.temperature = 0.01f, .topK = 2}};
  for (const int32_t token : drawRows(logits, warm, numbersFrom(5, 8)).tokens)
    CHECK(token == 700 || token == 901);
  const std::vector<float> nothing(300, kNothing);
  CHECK_EQ(drawRows(nothing, greedy, {1}).tokens[0], 0);
  CHECK_EQ(drawRows(nothing, warm, {1}).tokens[0], 0);
}

TEST("sample: log-probabilities are those of the row without its biases and penalties") {
  Random random(9);
  const std::vector<float> logits = randomLogits(random, 640, false);
  const Request request{{.temperature = 0.5f, .biasIds = {3}, .biases = {30.0f}}};
  const Drawn got = drawRows(logits, request, {17});
  CHECK_EQ(got.tokens[0], 3);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double(logit));
  CHECK_NEAR(got.logprobs[0], double(logits[3]) - std::log(sum), 1e-5);
}
