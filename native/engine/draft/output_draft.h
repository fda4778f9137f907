// SPDX-License-Identifier: Apache-2.0
// Drafting for one output: what its rows may see, the drafters, how often each was right, and the
// guesses that stand in the batch of this turn. Belongs to the engine thread.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "engine/draft/drafter.h"
#include "engine/draft/odds.h"

namespace baton {

class OutputDraft {
 public:
  static constexpr int kMostGuesses = 15;

  // Room for so many tokens and borders.
  explicit OutputDraft(size_t tokens);

  // What the rows of the output see, in view order, and then its own rows that are there.
  void read(const std::vector<int32_t>& tokens);

  // Goes on to the end of `generated`, the output's tokens so far, the last of which is no row yet.
  // Guesses for those that are new are judged.
  void follow(const std::vector<int32_t>& generated);

  // Makes the turn's guesses for what comes after the last token, at most `most`, and returns how
  // many of them pay as rows of the turn; `turn` then has them. None is one of `closers`, which
  // never become rows.
  int propose(int most, const std::vector<int32_t>& closers, TurnCost& turn);

  // The turn's rows: the last token of the output and, behind it, the guesses that pay.
  const int32_t* rows() const { return rows_.data(); }
  int guesses() const { return guesses_; }

  // Rows of this turn that turned out to be the output's, the first included.
  int kept = 0;

 private:
  struct Source {
    std::unique_ptr<Drafter> drafter;
    DraftOdds odds;
    Guesses made;
    std::array<int32_t, kMostGuesses> tokens;  // [made.count]
  };
  void judge(Source& source, const int32_t* came, size_t count) const;
  static double promise(const Source& source, int count);

  std::vector<Source> sources_;  // as drafterKinds()
  size_t followed_ = 0;          // tokens of the output
  int guesses_ = 0;              // rows of guesses
  std::array<int32_t, 1 + kMostGuesses> rows_{};
};

}  // namespace baton
