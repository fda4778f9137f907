// SPDX-License-Identifier: Apache-2.0
#include "engine/sampler.h"

#include <algorithm>
#include <cmath>

namespace baton {

int32_t Sampler::sample(float* logits, int vocab, const std::vector<int32_t>& history) {
  replaced_.clear();
  addBias(logits);
  penalise(logits, history);
  const int32_t token = choose(logits, vocab);
  for (auto one = replaced_.rbegin(); one != replaced_.rend(); ++one) logits[one->id] = one->logit;
  return token;
}

void Sampler::set(float* logits, int32_t id, float value) {
  replaced_.push_back({logits[id], id});
  logits[id] = value;
}

void Sampler::addBias(float* logits) {
  for (size_t i = 0; i < options_.biasIds.size(); ++i) {
    const int32_t id = options_.biasIds[i];
    // A ban holds whatever the logit is, NaN too.
    const float bias = options_.biases[i];
    set(logits, id, std::isinf(bias) ? bias : logits[id] + bias);
  }
}

// Each token of the history once, with the number of its occurrences.
void Sampler::penalise(float* logits, const std::vector<int32_t>& history) {
  const SamplerOptions& o = options_;
  if (o.repetitionPenalty == 1 && o.presencePenalty == 0 && o.frequencyPenalty == 0) return;
  penalised_ = history;
  std::sort(penalised_.begin(), penalised_.end());
  for (size_t first = 0, next = 0; first < penalised_.size(); first = next) {
    const int32_t id = penalised_[first];
    while (next < penalised_.size() && penalised_[next] == id) ++next;
    const auto count = static_cast<float>(next - first);
    const float logit = logits[id];
    const float repeated = logit > 0 ? logit / o.repetitionPenalty : logit * o.repetitionPenalty;
    set(logits, id, repeated - count * o.frequencyPenalty - o.presencePenalty);
  }
}

int32_t Sampler::choose(const float* logits, int vocab) {
  candidates_.clear();
  const float* highest = std::max_element(logits, logits + vocab);
  if (options_.temperature == 0) return static_cast<int32_t>(highest - logits);
  const float best = *highest;

  // Distances from the best: no quotient overflows, however small the temperature is.
  candidates_.resize(static_cast<size_t>(vocab));
  for (int32_t id = 0; id < vocab; ++id) {
    candidates_[static_cast<size_t>(id)] = {(logits[id] - best) / options_.temperature, id};
  }
  if (options_.topK > 0) keepTopK();
  if (options_.topP < 1) keepTopP();
  if (options_.minP > 0) keepMinP();
  return draw();
}

void Sampler::keepTopK() {
  const size_t keep = std::min(static_cast<size_t>(options_.topK), candidates_.size());
  const auto above = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(keep),
                    candidates_.end(), above);
  candidates_.resize(keep);
}

// The fewest most likely tokens whose probabilities reach topP. The head is sorted in growing
// portions: nearly always a few hundred tokens suffice of a vocabulary of fifty thousand.
void Sampler::keepTopP() {
  const auto above = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  const float best = bestLogit();
  double total = 0;
  for (const Candidate& c : candidates_) total += std::exp(double(c.logit - best));
  const double wanted = options_.topP * total;
  double sum = 0;
  size_t sorted = 0;
  for (size_t kept = 0; kept < candidates_.size(); ++kept) {
    if (kept == sorted) {
      sorted = std::min(candidates_.size(), std::max<size_t>(256, 4 * sorted));
      std::partial_sort(candidates_.begin() + static_cast<std::ptrdiff_t>(kept),
                        candidates_.begin() + static_cast<std::ptrdiff_t>(sorted),
                        candidates_.end(), above);
    }
    sum += std::exp(double(candidates_[kept].logit - best));
    if (sum >= wanted) {
      candidates_.resize(kept + 1);
      return;
    }
  }
}

void Sampler::keepMinP() {
  const float floor = bestLogit() + std::log(options_.minP);
  std::erase_if(candidates_, [floor](const Candidate& c) { return c.logit < floor; });
}

float Sampler::bestLogit() const {
  float best = candidates_[0].logit;
  for (const Candidate& c : candidates_) best = std::max(best, c.logit);
  return best;
}

int32_t Sampler::draw() {
  const float best = bestLogit();
  double total = 0;
  for (const Candidate& c : candidates_) total += std::exp(double(c.logit - best));
  double left = uniform() * total;
  int32_t last = candidates_[0].id;  // the last that could be drawn: rounding may leave a rest
  for (const Candidate& c : candidates_) {
    const double weight = std::exp(double(c.logit - best));
    left -= weight;
    if (weight > 0) last = c.id;
    if (left < 0) return c.id;
  }
  return last;
}

std::vector<Sampler::Choice> Sampler::choices() const {
  std::vector<Choice> all;
  if (candidates_.empty()) return all;
  const float best = bestLogit();
  double total = 0;
  for (const Candidate& c : candidates_) total += std::exp(double(c.logit - best));
  for (const Candidate& c : candidates_) {
    const double weight = std::exp(double(c.logit - best));
    if (weight > 0) all.push_back({c.id, weight / total});
  }
  return all;
}

// [0, 1) from the top 53 bits: the same on every standard library, unlike
// uniform_real_distribution.
double Sampler::uniform() {
  return double(random_() >> 11) * 0x1p-53;
}

}  // namespace baton
