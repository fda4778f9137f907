// SPDX-License-Identifier: Apache-2.0
#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/logit_row.h"
#include "engine/logprobs.h"

namespace baton {

int32_t Sampler::sample(float* logits, int vocab, const std::vector<int32_t>& history,
                        const uint32_t* allowed) {
  replaced_.clear();
  if (allowed != nullptr) logits = allow(logits, vocab, allowed);
  addBias(logits);
  penalise(logits, history);
  const int32_t token = choose(logits, vocab);
  for (auto one = replaced_.rbegin(); one != replaced_.rend(); ++one) logits[one->id] = one->logit;
  return token;
}

// A copy in which everything else is as unlikely as a ban makes it. Masks are nearly empty or
// nearly full: most words are one of two.
float* Sampler::allow(const float* logits, int vocab, const uint32_t* allowed) {
  const auto count = static_cast<size_t>(vocab);
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  allowed_.resize(count);
  float* const to = allowed_.data();
  for (size_t begin = 0; begin < count; begin += 32) {
    const uint32_t word = allowed[begin / 32];
    const size_t end = std::min(begin + 32, count);
    if (word == ~uint32_t{0}) {
      std::copy(logits + begin, logits + end, to + begin);
      continue;
    }
    std::fill(to + begin, to + end, kNever);
    if (word == 0) continue;
    for (size_t id = begin; id < end; ++id) {
      if ((word >> (id - begin) & 1) != 0) to[id] = logits[id];
    }
  }
  return allowed_.data();
}

SampleRow Sampler::request(const std::vector<int32_t>& history, std::vector<SampleEdit>& edits) {
  const SamplerOptions& o = options_;
  const size_t begin = edits.size();
  for (size_t i = 0; i < o.biasIds.size(); ++i) edits.push_back({o.biasIds[i], o.biases[i], 0});
  if (penalises()) {
    for (const int32_t id : history) edits.push_back({id, 0, 1});
  }
  const auto first = edits.begin() + static_cast<std::ptrdiff_t>(begin);
  std::sort(first, edits.end(),
            [](const SampleEdit& a, const SampleEdit& b) { return a.id < b.id; });
  auto end = first;
  for (auto one = first; one != edits.end(); ++one) {
    if (end != first && end[-1].id == one->id) {
      end[-1].bias += one->bias;
      end[-1].count += one->count;
    } else {
      *end++ = *one;
    }
  }
  edits.erase(end, edits.end());
  return {.row = 0,
          .temperature = o.temperature,
          .topK = o.topK,
          .topP = o.topP,
          .minP = o.minP,
          .repetitionPenalty = o.repetitionPenalty,
          .presencePenalty = o.presencePenalty,
          .frequencyPenalty = o.frequencyPenalty,
          .editBegin = static_cast<int32_t>(begin),
          .editEnd = static_cast<int32_t>(edits.size()),
          .random = o.temperature == 0 ? 0 : random_()};
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

bool Sampler::penalises() const {
  const SamplerOptions& o = options_;
  return o.repetitionPenalty != 1 || o.presencePenalty != 0 || o.frequencyPenalty != 0;
}

// Each token of the history once, with the number of its occurrences.
void Sampler::penalise(float* logits, const std::vector<int32_t>& history) {
  const SamplerOptions& o = options_;
  if (!penalises()) return;
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
  const SamplerOptions& o = options_;
  const int32_t best = argmax(logits, vocab);
  if (o.temperature == 0) return best;
  best_ = {logits[best], best};
  if (o.topK > 0) {
    take(logits, vocab, o.topK);
    if (o.topP < 1) keepTopP(total());
    sortById();
  } else if (o.topP < 1) {
    takeTopP(logits, vocab);
    sortById();
  } else if (o.minP > 0) {
    // Twice as far as need be and a little: keepMinP decides, rounded as always.
    takeAbove(logits, vocab, best_.logit + 2 * o.temperature * std::log(o.minP) - 1);
  } else {
    return drawOfAll(weighAll(logits, vocab));
  }
  if (o.minP > 0) keepMinP();
  return draw();
}

double Sampler::weighAll(const float* logits, int vocab) {
  weights_.resize(static_cast<size_t>(vocab));
  sums_.resize(static_cast<size_t>((vocab + kLogitBlock - 1) / kLogitBlock));
  return weigh(logits, vocab, best_.logit, options_.temperature, weights_.data(), sums_.data());
}

double Sampler::weight(const Candidate& one) const {
  return std::exp(double((one.logit - best_.logit) / options_.temperature));
}

double Sampler::total() const {
  double sum = 0;
  for (const Candidate& one : candidates_) sum += weight(one);
  return sum;
}

// Candidates are the logits that reach `floor`, in the order of their ids; NaN reaches nothing.
void Sampler::takeAbove(const float* logits, int vocab, float floor) {
  candidates_.clear();
  for (int32_t id = 0; id < vocab; ++id) {
    if (logits[id] >= floor) candidates_.push_back({logits[id], id});
  }
}

// Candidates are the `count` largest logits, largest first.
void Sampler::take(const float* logits, int vocab, int count) {
  takeAbove(logits, vocab, atLeast(logits, vocab, count, scratch_));
  const auto above = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  const size_t keep = std::min(static_cast<size_t>(count), candidates_.size());
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(keep),
                    candidates_.end(), above);
  candidates_.resize(keep);
}

// The fewest most likely tokens whose probabilities reach topP, looked for among ever more of them:
// nearly always a few hundred suffice of a vocabulary of fifty thousand.
void Sampler::takeTopP(const float* logits, int vocab) {
  const double all = weighAll(logits, vocab);
  for (int count = 256;; count = count < vocab / 4 ? 4 * count : vocab) {
    take(logits, vocab, count);
    if (keepTopP(all) || count >= vocab) return;
  }
}

// Of candidates, largest first: those up to where the share topP of `all` is reached. False: it is
// not, and all stay.
bool Sampler::keepTopP(double all) {
  const double wanted = options_.topP * all;
  double sum = 0;
  for (size_t kept = 0; kept < candidates_.size(); ++kept) {
    sum += weight(candidates_[kept]);
    if (sum >= wanted) {
      candidates_.resize(kept + 1);
      return true;
    }
  }
  return false;
}

void Sampler::keepMinP() {
  const float floor = std::log(options_.minP);
  std::erase_if(candidates_, [&](const Candidate& one) {
    return (one.logit - best_.logit) / options_.temperature < floor;
  });
}

void Sampler::sortById() {
  std::sort(candidates_.begin(), candidates_.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
}

int32_t Sampler::draw() {
  double left = uniform() * total();
  int32_t last = best_.id;  // the last that could be drawn: rounding may leave a rest
  for (const Candidate& one : candidates_) {
    const double share = weight(one);
    left -= share;
    if (share > 0) last = one.id;
    if (left < 0) return one.id;
  }
  return last;
}

// Of the weights of the whole vocabulary, which add up to `all`, block by block.
int32_t Sampler::drawOfAll(double all) {
  double left = uniform() * all;
  int32_t last = best_.id;
  for (size_t block = 0; block < sums_.size(); ++block) {
    const bool inside = left < sums_[block] || block + 1 == sums_.size();
    if (!inside) {
      left -= sums_[block];
      continue;
    }
    const size_t end = std::min((block + 1) * kLogitBlock, weights_.size());
    for (size_t id = block * kLogitBlock; id < end; ++id) {
      left -= double(weights_[id]);
      if (weights_[id] > 0) last = static_cast<int32_t>(id);
      if (left < 0) return static_cast<int32_t>(id);
    }
    return last;
  }
  return last;
}

std::vector<Sampler::Choice> Sampler::choices() const {
  std::vector<Choice> all;
  if (options_.temperature == 0) return all;
  const auto add = [&all](int32_t id, double share) {
    if (share > 0) all.push_back({id, share});
  };
  for (const Candidate& one : candidates_) add(one.id, weight(one));
  if (candidates_.empty()) {
    for (size_t id = 0; id < weights_.size(); ++id) add(static_cast<int32_t>(id), weights_[id]);
  }
  double sum = 0;
  for (const Choice& one : all) sum += one.probability;
  for (Choice& one : all) one.probability /= sum;
  return all;
}

void sampleRows(float* logits, int vocab, const SampleWanted* wanted, int count, Sampled* out) {
  for (int i = 0; i < count; ++i) {
    const SampleWanted& one = wanted[i];
    float* row = logits + static_cast<size_t>(one.row) * static_cast<size_t>(vocab);
    const int32_t token = one.sampler->sample(row, vocab, *one.history, one.allowed);
    out[i] = {token, one.logprob ? logprobOf(row, vocab, token) : 0.0f};
  }
}

// [0, 1) from the top 53 bits: the same on every standard library, unlike
// uniform_real_distribution.
double Sampler::uniform() {
  return double(random_() >> 11) * 0x1p-53;
}

}  // namespace baton
