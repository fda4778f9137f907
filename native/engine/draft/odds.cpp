// SPDX-License-Identifier: Apache-2.0
#include "engine/draft/odds.h"

#include <algorithm>

namespace baton {
namespace {

constexpr double kDecay = 0.95;  // of what was counted before, with every guess
constexpr double kBegun = 6;     // guesses that the first chances count as

size_t indexOf(int support) {
  return static_cast<size_t>(std::clamp(support, 1, DraftOdds::kMostSupport) - 1);
}

}  // namespace

// As lookup held, by the length of its match, in the evidence texts of 200 items of HotpotQA behind
// their passages. The next dozen guesses of an output count for more.
DraftOdds::DraftOdds() {
  constexpr double kFirst[kMostSupport] = {0.22, 0.46, 0.69, 0.73, 0.74, 0.76, 0.79, 0.82};
  for (size_t i = 0; i < tried_.size(); ++i) tried_[i] = {kBegun * kFirst[i], kBegun};
}

double DraftOdds::chance(int support) const {
  const Tried& tried = tried_[indexOf(support)];
  return tried.held / tried.all;
}

void DraftOdds::note(int support, bool held) {
  Tried& tried = tried_[indexOf(support)];
  tried.held = tried.held * kDecay + (held ? 1 : 0);
  tried.all = tried.all * kDecay + 1;
}

// CPU time of forwards of 2 to 16 rows against one, behind 1,000 rows, SmolLM2 in Q4_1 on AVX2, one
// thread: 0.47 of a forward each (0.40 to 0.54), a third of it attention. AVX-512 and CUDA are
// taken to be alike until they are measured. Scalar kernels do one row after the other. To be
// measured again when kernels for few rows change (bench: `drafting`).
double rowCost(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return 1;
    case Isa::kAvx2:
    case Isa::kAvx512:
    case Isa::kAmx:
    case Isa::kCuda:
      return 0.47;
  }
  return 1;
}

}  // namespace baton
