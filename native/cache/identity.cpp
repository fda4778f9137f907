// SPDX-License-Identifier: Apache-2.0
#include "cache/identity.h"

#include <algorithm>

namespace baton {

void IdentityChain::addTokens(const int32_t* ids, int count) {
  tokens_.insert(tokens_.end(), ids, ids + count);
}

void IdentityChain::addSoft(const float* rows, int count, int width) {
  for (int r = 0; r < count; ++r) {
    Sha256 hash;
    hash.update(rows + static_cast<size_t>(r) * static_cast<size_t>(width),
                static_cast<size_t>(width) * sizeof(float));
    soft_.push_back(hash.digest());
    tokens_.push_back(-static_cast<int32_t>(soft_.size()));
  }
}

void IdentityChain::truncate(int rows) {
  for (; this->rows() > rows; tokens_.pop_back()) {
    if (tokens_.back() < 0) soft_.pop_back();
  }
  const auto full = static_cast<size_t>(rows / kBlockRows);
  if (chained_.size() > full) chained_.resize(full);
}

void IdentityChain::copyTokens(int rows, std::vector<int32_t>& into) const {
  for (int row = 0; row < rows; ++row)
    into.push_back(std::max(tokens_[static_cast<size_t>(row)], -1));
}

void IdentityChain::setHead(const Digest& head) {
  head_ = head;
  headed_ = true;
  chained_.clear();
}

void IdentityChain::dropHead() {
  headed_ = false;
  chained_.clear();
}

void IdentityChain::update(Sha256& hash, int begin, int end) const {
  for (int row = begin; row < end; ++row) {
    const int32_t token = tokens_[static_cast<size_t>(row)];
    if (token < 0) {
      const Digest& soft = soft_[static_cast<size_t>(-1 - token)];
      hash.update(soft.data(), soft.size());
      continue;
    }
    uint8_t bytes[8] = {};
    for (int i = 0; i < 4; ++i)
      bytes[i] = static_cast<uint8_t>(static_cast<uint32_t>(token) >> (8 * i));
    hash.update(bytes, sizeof(bytes));
  }
}

Digest IdentityChain::at(int rows) const {
  const auto extend = [this](const Digest& before, int begin, int end) {
    Sha256 hash;
    hash.update(before.data(), before.size());
    update(hash, begin, end);
    return hash.digest();
  };
  const auto full = static_cast<size_t>(rows / kBlockRows);
  while (chained_.size() < full) {
    const int begin = static_cast<int>(chained_.size()) * kBlockRows;
    chained_.push_back(
        extend(chained_.empty() ? head_ : chained_.back(), begin, begin + kBlockRows));
  }
  const Digest& before = full == 0 ? head_ : chained_[full - 1];
  const int rest = static_cast<int>(full) * kBlockRows;
  return rest == rows ? before : extend(before, rest, rows);
}

Digest IdentityChain::content(const std::string& scope) const {
  Sha256 hash;
  hash.update(scope.data(), scope.size());
  update(hash, 0, std::min(rows(), kBlockRows));
  return hash.digest();
}

}  // namespace baton
