// SPDX-License-Identifier: Apache-2.0
// Content of a segment's rows and the identity of every prefix of them: SHA-256 chained block by
// block from a head, which covers everything that the rows depend on besides themselves (method.md
// part 2, "Segment"). Equal identity: equal KV, bit for bit under batchInvariant.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/hash.h"

namespace baton {

class IdentityChain {
 public:
  void addTokens(const int32_t* ids, int count);
  void addSoft(const float* rows, int count, int width);  // [count, width]
  void truncate(int rows);
  void copyTokens(int rows, std::vector<int32_t>& into) const;  // -1 for soft rows
  int rows() const { return static_cast<int>(tokens_.size()); }

  void setHead(const Digest& head);
  void dropHead();
  bool headed() const { return headed_; }

  // With a head. After the first `rows` rows.
  Digest at(int rows) const;

  // Of the first rows alone, at most a block of them, whatever stands before: tells content that
  // was seen in another frame of this scope from content that was never seen.
  Digest content(const std::string& scope) const;

 private:
  void update(Sha256& hash, int begin, int end) const;

  std::vector<int32_t> tokens_;  // per row: token id, or -1 - index in soft_
  std::vector<Digest> soft_;
  bool headed_ = false;
  Digest head_{};
  mutable std::vector<Digest> chained_;  // identity after each full block asked for so far
};

}  // namespace baton
