// SPDX-License-Identifier: Apache-2.0
#include "engine/stop_matcher.h"

#include <algorithm>

namespace baton {

StopMatcher::Result StopMatcher::push(int32_t token, std::vector<int32_t>& released) {
  if (stops_.empty()) {
    released.push_back(token);
    ++released_;
    return {};
  }
  const std::string_view bytes = vocabulary_->text(token);
  text_.append(bytes);
  held_.push_back(token);
  lengths_.push_back(bytes.size());

  const size_t match = earliestMatch(bytes.size());
  size_t end = match == std::string::npos ? possibleStart() : match;
  size_t tokens = 0;
  size_t covered = 0;  // bytes of the first `tokens` held tokens
  while (tokens < held_.size() && covered + lengths_[tokens] <= end) covered += lengths_[tokens++];

  Result result;
  if (match != std::string::npos) {
    result.stopped = true;
    result.tail = text_.substr(covered, match - covered);
  }
  release(tokens, released);
  result.kept = released_;
  return result;
}

void StopMatcher::flush(std::vector<int32_t>& released) {
  release(held_.size(), released);
}

// Only matches that end inside the new bytes can be new.
size_t StopMatcher::earliestMatch(size_t newBytes) const {
  size_t earliest = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t reach = newBytes + stop.size();
    const size_t from = text_.size() > reach ? text_.size() - reach : 0;
    earliest = std::min(earliest, text_.find(stop, from));
  }
  return earliest;
}

// Where the longest suffix begins that is a proper beginning of some stop string.
size_t StopMatcher::possibleStart() const {
  size_t start = text_.size();
  for (const std::string& stop : stops_) {
    for (size_t length = std::min(stop.size() - 1, text_.size()); length > 0; --length) {
      if (std::string_view(text_).substr(text_.size() - length) ==
          std::string_view(stop).substr(0, length)) {
        start = std::min(start, text_.size() - length);
        break;
      }
    }
  }
  return start;
}

void StopMatcher::release(size_t count, std::vector<int32_t>& released) {
  const auto tokens = static_cast<std::ptrdiff_t>(count);
  size_t bytes = 0;
  for (size_t i = 0; i < count; ++i) bytes += lengths_[i];
  released.insert(released.end(), held_.begin(), held_.begin() + tokens);
  held_.erase(held_.begin(), held_.begin() + tokens);
  lengths_.erase(lengths_.begin(), lengths_.begin() + tokens);
  text_.erase(0, bytes);
  released_ += static_cast<int>(count);
}

}  // namespace baton
