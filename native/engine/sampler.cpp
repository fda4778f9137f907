// SPDX-License-Identifier: Apache-2.0
#include "engine/sampler.h"

#include <algorithm>
#include <cmath>

namespace baton {

int32_t Sampler::sample(float* logits, int vocab, const std::vector<int32_t>& history) {
  if (options_.repetitionPenalty != 1) {
    penalised_ = history;
    std::sort(penalised_.begin(), penalised_.end());
    penalised_.erase(std::unique(penalised_.begin(), penalised_.end()), penalised_.end());
    for (const int32_t id : penalised_) {
      float& logit = logits[id];
      logit = logit > 0 ? logit / options_.repetitionPenalty : logit * options_.repetitionPenalty;
    }
  }
  if (options_.temperature == 0)
    return static_cast<int32_t>(std::max_element(logits, logits + vocab) - logits);

  // Distances from the best: no quotient overflows, however small the temperature is.
  const float best = *std::max_element(logits, logits + vocab);
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
  float best = candidates_[0].logit;
  for (const Candidate& c : candidates_) best = std::max(best, c.logit);
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
  float best = candidates_[0].logit;
  for (const Candidate& c : candidates_) best = std::max(best, c.logit);
  const float floor = best + std::log(options_.minP);
  std::erase_if(candidates_, [floor](const Candidate& c) { return c.logit < floor; });
}

int32_t Sampler::draw() {
  float best = candidates_[0].logit;
  for (const Candidate& c : candidates_) best = std::max(best, c.logit);
  double total = 0;
  for (const Candidate& c : candidates_) total += std::exp(double(c.logit - best));
  double left = uniform() * total;
  for (const Candidate& c : candidates_) {
    left -= std::exp(double(c.logit - best));
    if (left < 0) return c.id;
  }
  return candidates_.back().id;
}

// [0, 1) from the top 53 bits: the same on every standard library, unlike
// uniform_real_distribution.
double Sampler::uniform() {
  return double(random_() >> 11) * 0x1p-53;
}

}  // namespace baton
