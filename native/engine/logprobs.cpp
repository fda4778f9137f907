// SPDX-License-Identifier: Apache-2.0
#include "engine/logprobs.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace baton {
namespace {

struct Entry {
  float logit;
  int32_t id;
};

template <class T>
std::vector<T> part(const std::vector<T>& all, size_t first, size_t count) {
  const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first);
  return std::vector<T>(begin, begin + static_cast<std::ptrdiff_t>(count));
}

// The n best, best first. One pass; an insertion is rare once the first few rows of ids are seen.
// Logits that are no numbers stay where they came in.
void keepBest(const float* logits, int vocab, Entry* best, int n) {
  for (int32_t id = 0; id < vocab; ++id) {
    int at = std::min(id, n);
    if (at == n && !(logits[id] > best[n - 1].logit)) continue;
    if (at == n) --at;
    for (; at > 0 && logits[id] > best[at - 1].logit; --at) best[at] = best[at - 1];
    best[at] = {logits[id], id};
  }
}

}  // namespace

double logSumExp(const float* logits, int vocab) {
  const double best = *std::max_element(logits, logits + vocab);
  double sum = 0;
  for (int id = 0; id < vocab; ++id) sum += std::exp(double(logits[id]) - best);
  return best + std::log(sum);
}

float logprobOf(const float* logits, int vocab, int32_t token) {
  return static_cast<float>(logits[token] - logSumExp(logits, vocab));
}

void Logprobs::add(const float* logits, int vocab, int32_t token) {
  const double total = logSumExp(logits, vocab);
  chosen.push_back(static_cast<float>(logits[token] - total));
  std::array<Entry, kMostTop> best{};
  if (top > 0) keepBest(logits, vocab, best.data(), top);
  for (int i = 0; i < top; ++i) {
    const Entry& entry = best[static_cast<size_t>(i)];
    topIds.push_back(entry.id);
    topLogprobs.push_back(static_cast<float>(entry.logit - total));
  }
}

Logprobs Logprobs::slice(size_t first, size_t count) const {
  Logprobs some;
  some.top = top;
  if (top < 0) return some;
  const auto n = static_cast<size_t>(top);
  some.chosen = part(chosen, first, count);
  some.topIds = part(topIds, first * n, count * n);
  some.topLogprobs = part(topLogprobs, first * n, count * n);
  return some;
}

void Logprobs::append(const Logprobs& more) {
  makeRoom(chosen, more.chosen.size());
  makeRoom(topIds, more.topIds.size());
  makeRoom(topLogprobs, more.topLogprobs.size());
  chosen.insert(chosen.end(), more.chosen.begin(), more.chosen.end());
  topIds.insert(topIds.end(), more.topIds.begin(), more.topIds.end());
  topLogprobs.insert(topLogprobs.end(), more.topLogprobs.begin(), more.topLogprobs.end());
}

}  // namespace baton
