// SPDX-License-Identifier: Apache-2.0
// Stop strings across token borders. Tokens are held back while their text may still turn out to be
// the beginning of a stop string; what is let go is final. Matching is on bytes, so a stop string
// may end inside a token or a character.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace baton {

// Text of every token: token t is bytes[offsets[t] .. offsets[t + 1]).
struct Vocabulary {
  std::string bytes;
  std::vector<uint32_t> offsets;

  std::string_view text(int32_t token) const {
    const auto t = static_cast<size_t>(token);
    if (t + 1 >= offsets.size()) return {};
    return std::string_view(bytes).substr(offsets[t], offsets[t + 1] - offsets[t]);
  }
};

class StopMatcher {
 public:
  StopMatcher(std::vector<std::string> stops, std::shared_ptr<const Vocabulary> vocabulary)
      : stops_(std::move(stops)), vocabulary_(std::move(vocabulary)) {}

  struct Result {
    bool stopped = false;
    int kept = 0;  // stopped: tokens, of all pushed, before the first that overlaps the stop string
    std::string tail;  // stopped: bytes of that first token before the stop string
  };

  // Takes the next token; appends to `released` those that are final now.
  Result push(int32_t token, std::vector<int32_t>& released);

  // The end came by other means: appends what is still held.
  void flush(std::vector<int32_t>& released);

 private:
  size_t earliestMatch(size_t newBytes) const;
  size_t possibleStart() const;
  void release(size_t count, std::vector<int32_t>& released);

  std::vector<std::string> stops_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  std::string text_;             // bytes of the held tokens
  std::vector<int32_t> held_;    // tokens not yet released
  std::vector<size_t> lengths_;  // bytes of each held token
  int released_ = 0;
};

}  // namespace baton
