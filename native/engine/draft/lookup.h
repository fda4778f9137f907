// SPDX-License-Identifier: Apache-2.0
// Prompt lookup (n-gram drafting, as in arXiv 2304.04487): what followed the last tokens where they
// stood before. The longest match counts, of several the latest; from kMostMatch tokens on all are
// equally long. A match does not reach over a border, nor do the guesses. Text that runs into its
// own repetition is continued with itself, so that a loop is drafted at any length.
//
// Every token knows where it stood before, so a search visits only the places of the last token: at
// most kMostMatch comparisons each, and far less than reading the KV of the same rows.
#pragma once

#include <memory>
#include <vector>

#include "engine/draft/drafter.h"

namespace baton {

class Lookup : public Drafter {
 public:
  static constexpr int kMostMatch = 8;

  explicit Lookup(size_t tokens);

  void push(int32_t token) override;
  Guesses propose(int most, int32_t* guesses) const override;

 private:
  struct Latest {
    int32_t token = kBorder;  // kBorder: no entry
    int32_t at = -1;
  };
  Latest& entry(int32_t token);
  void growLatest();
  int matchedAt(size_t at) const;

  std::vector<int32_t> tokens_;
  std::vector<int32_t> before_;  // place of the same token before, or -1
  std::vector<Latest> latest_;   // open addressing, a power of two, at most half full
  size_t distinct_ = 0;
};

std::unique_ptr<Drafter> makeLookup(size_t tokens);

}  // namespace baton
