// SPDX-License-Identifier: Apache-2.0
#include "engine/draft/lookup.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace baton {
namespace {

constexpr size_t kLeastEntries = 64;

size_t spread(int32_t token) {
  return static_cast<size_t>((static_cast<uint64_t>(token) * 0x9E3779B97F4A7C15ull) >> 32);
}

}  // namespace

Lookup::Lookup(size_t tokens) : latest_(std::bit_ceil(std::max(kLeastEntries, 2 * tokens))) {
  tokens_.reserve(tokens);
  before_.reserve(tokens);
}

// Of the token, or the free place that it would take.
Lookup::Latest& Lookup::entry(int32_t token) {
  const size_t mask = latest_.size() - 1;
  size_t at = spread(token) & mask;
  while (latest_[at].token != kBorder && latest_[at].token != token) at = (at + 1) & mask;
  return latest_[at];
}

void Lookup::growLatest() {
  std::vector<Latest> old(2 * latest_.size());
  old.swap(latest_);
  for (const Latest& one : old) {
    if (one.token != kBorder) entry(one.token) = one;
  }
}

void Lookup::push(int32_t token) {
  const auto at = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
  before_.push_back(-1);
  if (token == kBorder) return;
  if (2 * (distinct_ + 1) > latest_.size()) growLatest();
  Latest& latest = entry(token);
  distinct_ += latest.token == kBorder ? 1 : 0;
  before_.back() = latest.at;
  latest = {token, at};
}

// Tokens up to `at` that are the same as the last ones; the last one is.
int Lookup::matchedAt(size_t at) const {
  const size_t last = tokens_.size() - 1;
  size_t length = 1;
  while (length < kMostMatch && length <= at && tokens_[at - length] != kBorder &&
         tokens_[at - length] == tokens_[last - length]) {
    ++length;
  }
  return static_cast<int>(length);
}

Guesses Lookup::propose(int most, int32_t* guesses) const {
  if (tokens_.empty() || most < 1) return {};
  int longest = 0;
  size_t from = 0;  // place of the first guess
  for (int32_t at = before_.back(); at >= 0 && longest < kMostMatch;
       at = before_[static_cast<size_t>(at)]) {
    const auto place = static_cast<size_t>(at);
    if (tokens_[place + 1] == kBorder) continue;  // nothing followed
    const int matched = matchedAt(place);
    if (matched <= longest) continue;
    longest = matched;
    from = place + 1;
  }
  if (longest == 0) return {};
  Guesses found{0, longest};
  for (size_t at = from; found.count < most; ++at) {
    const size_t all = tokens_.size();
    const int32_t token = at < all ? tokens_[at] : guesses[at - all];
    if (token == kBorder) break;
    guesses[found.count++] = token;
  }
  return found;
}

std::unique_ptr<Drafter> makeLookup(size_t tokens) {
  return std::make_unique<Lookup>(tokens);
}

}  // namespace baton
