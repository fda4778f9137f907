// SPDX-License-Identifier: Apache-2.0
#include "engine/draft/output_draft.h"

#include <algorithm>

namespace baton {

OutputDraft::OutputDraft(size_t tokens) {
  for (const DrafterKind& kind : drafterKinds()) {
    sources_.emplace_back();
    sources_.back().drafter = kind.make(tokens);
  }
}

void OutputDraft::read(const std::vector<int32_t>& tokens) {
  for (Source& source : sources_) {
    for (const int32_t token : tokens) source.drafter->push(token);
  }
}

void OutputDraft::follow(const std::vector<int32_t>& generated) {
  const int32_t* came = generated.data() + followed_;
  const size_t count = generated.size() - followed_;
  for (Source& source : sources_) {
    judge(source, came, count);
    for (size_t i = 0; i < count; ++i) source.drafter->push(came[i]);
  }
  followed_ = generated.size();
  rows_[0] = generated.back();
}

// A guess behind one that did not hold says nothing.
void OutputDraft::judge(Source& source, const int32_t* came, size_t count) const {
  const size_t made = std::min(static_cast<size_t>(source.made.count), count);
  for (size_t i = 0; i < made; ++i) {
    const bool held = source.tokens[i] == came[i];
    source.odds.note(source.made.support + static_cast<int>(i), held);
    if (!held) break;
  }
  source.made = {};
}

// Expected number of guesses that hold.
double OutputDraft::promise(const Source& source, int count) {
  double chance = 1, sum = 0;
  for (int i = 0; i < count; ++i) sum += chance *= source.odds.chance(source.made.support + i);
  return sum;
}

int OutputDraft::propose(int most, const std::vector<int32_t>& closers, TurnCost& turn) {
  guesses_ = 0;
  kept = 0;
  const Source* best = nullptr;
  double bestPromise = 0;
  int usable = 0;
  for (Source& source : sources_) {
    // One guess at least, to be judged; it is no row.
    source.made = source.drafter->propose(std::clamp(most, 1, kMostGuesses), source.tokens.data());
    const int32_t* begin = source.tokens.data();
    const int32_t* end = begin + std::clamp(source.made.count, 0, std::max(0, most));
    const int count =
        static_cast<int>(std::find_first_of(begin, end, closers.begin(), closers.end()) - begin);
    const double promised = promise(source, count);
    if (promised <= bestPromise) continue;
    best = &source;
    bestPromise = promised;
    usable = count;
  }
  double chance = 1;
  for (; guesses_ < usable; ++guesses_) {
    chance *= best->odds.chance(best->made.support + guesses_);
    if (!turn.pays(chance)) break;
    turn.addGuess(chance);
    rows_[static_cast<size_t>(guesses_) + 1] = best->tokens[static_cast<size_t>(guesses_)];
  }
  return guesses_;
}

}  // namespace baton
