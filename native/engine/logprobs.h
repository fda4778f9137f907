// SPDX-License-Identifier: Apache-2.0
// Log-probabilities (natural logarithm) of the tokens of one output: log-softmax of the logits as
// the model gives them, before bias, penalties, temperature and filters. They say what the model
// thinks of a token, not how likely the sampler was to take it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace baton {

// Room for `more` entries, growing as push_back() does.
template <class T>
void makeRoom(std::vector<T>& entries, size_t more) {
  const size_t needed = entries.size() + more;
  if (needed > entries.capacity()) entries.reserve(std::max(needed, 2 * entries.capacity()));
}

struct Logprobs {
  static constexpr int kMostTop = 20;

  int top = -1;                    // n likeliest alternatives at each place; -1: nothing is kept
  std::vector<float> chosen;       // [tokens]
  std::vector<int32_t> topIds;     // [tokens, n], likeliest first, the lowest id among equals
  std::vector<float> topLogprobs;  // [tokens, n]

  // That of the next token, where no alternatives are kept (top 0).
  void add(float logprob) { chosen.push_back(logprob); }

  // The figures of `token` at the place whose logits are `logits` [vocab], vocab >= n.
  void add(const float* logits, int vocab, int32_t token);

  // Those of tokens [first, first + count).
  Logprobs slice(size_t first, size_t count) const;

  // Appends the figures of later tokens; both keep the same n. std::bad_alloc changes nothing.
  void append(const Logprobs& more);
};

// log(sum of exp(logits [vocab])), in float64 from first to last.
double logSumExp(const float* logits, int vocab);

float logprobOf(const float* logits, int vocab, int32_t token);

}  // namespace baton
