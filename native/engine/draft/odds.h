// SPDX-License-Identifier: Apache-2.0
// When a draft pays. How often guesses hold is measured per output and per support, lately more
// than long ago; a guess is checked against the token that came in its place whether it was
// computed as a row or not, so that drafting begins again when the text is one that repeats. What a
// row costs is a constant of the instruction set: were it measured, two runs of one program could
// draft differently, and without batchInvariant differ in their last bits.
#pragma once

#include <array>

#include "kernels/ops.h"

namespace baton {

class DraftOdds {
 public:
  static constexpr int kMostSupport = 8;  // beyond it all are alike

  DraftOdds();

  // Probability that a guess holds, if those before it did.
  double chance(int support) const;
  void note(int support, bool held);

 private:
  struct Tried {
    double held, all;  // decaying counts, begun with what outputs that quote have on average
  };
  std::array<Tried, kMostSupport> tried_;
};

// Cost of one more row in a forward of few rows, as a part of a forward of one row.
double rowCost(Isa isa);

// A forward as it is being put together: tokens that it is expected to bring on, and its cost in
// forwards of one row. A row pays when it raises the quotient.
struct TurnCost {
  double row;             // cost of a row
  double cost = 1 - row;  // so far; what does not depend on rows included
  double tokens = 0;      // so far

  void addRows(int rows) {
    tokens += rows;
    cost += rows * row;
  }
  bool pays(double chance) const { return chance * cost > row * tokens; }
  void addGuess(double chance) {
    tokens += chance;
    cost += row;
  }
};

}  // namespace baton
