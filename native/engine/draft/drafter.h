// SPDX-License-Identifier: Apache-2.0
// A drafter guesses the next tokens of one output from the tokens that its rows may see. What it
// guesses decides nothing but speed: a guess is taken only where the sampler, with the logits of
// its own place and the random number of its own place, chose the same token. A drafter is one file
// in this folder and one line in drafters.cpp.
//
// Nothing is allocated once the room that it was made with is used up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace baton {

// Guesses that follow each other.
struct Guesses {
  int count = 0;
  // How well founded the first one is, at least 1. How often guesses hold is measured by it; the
  // one behind i that held counts as support + i.
  int support = 1;
};

class Drafter {
 public:
  static constexpr int32_t kBorder = -1;  // where a segment ends, or rows that are no tokens

  virtual ~Drafter() = default;

  // The next token that rows of the output may see, in view order and then its own: certain.
  virtual void push(int32_t token) = 0;

  // What may come next, at most `most` tokens, into `guesses`.
  virtual Guesses propose(int most, int32_t* guesses) const = 0;
};

struct DrafterKind {
  const char* name;
  std::unique_ptr<Drafter> (*make)(size_t tokens);  // room for so many pushes
};

// All there are. Each drafts for every output, and the one that promises most is followed.
std::span<const DrafterKind> drafterKinds();

}  // namespace baton
