// SPDX-License-Identifier: Apache-2.0
// The matcher against a naive one that keeps the whole text and searches it after every token.
#include "engine/stop_matcher.h"

#include <algorithm>
#include <random>

#include "check.h"

using namespace baton;
using namespace baton::test;

namespace {

using Texts = std::vector<std::string>;

std::shared_ptr<Vocabulary> vocabularyOf(const Texts& tokens) {
  auto vocabulary = std::make_shared<Vocabulary>();
  vocabulary->offsets.push_back(0);
  for (const std::string& token : tokens) {
    vocabulary->bytes += token;
    vocabulary->offsets.push_back(static_cast<uint32_t>(vocabulary->bytes.size()));
  }
  return vocabulary;
}

struct Expected {
  bool stopped = false;
  size_t final = 0;  // tokens that are certain after this push
  std::string tail;
};

// `pushed` tokens, the last one new.
Expected naive(const Texts& pushed, const Texts& stops) {
  std::string text;
  std::vector<size_t> ends;
  for (const std::string& token : pushed) ends.push_back((text += token).size());
  const auto tokensBefore = [&](size_t byte) {
    return static_cast<size_t>(
        std::count_if(ends.begin(), ends.end(), [&](size_t end) { return end <= byte; }));
  };
  size_t match = std::string::npos;
  for (const std::string& stop : stops) match = std::min(match, text.find(stop));
  if (match != std::string::npos) {
    const size_t kept = tokensBefore(match);
    const size_t begin = kept == 0 ? 0 : ends[kept - 1];
    return {true, kept, text.substr(begin, match - begin)};
  }
  size_t hold = text.size();
  for (size_t at = 0; at < text.size(); ++at) {
    for (const std::string& stop : stops) {
      if (stop.starts_with(text.substr(at))) hold = std::min(hold, at);
    }
  }
  return {false, tokensBefore(hold), {}};
}

// Pushes tokens 0, 1, ... and compares after each. True if it stopped.
bool agree(const Texts& tokens, const Texts& stops) {
  StopMatcher matcher(stops, vocabularyOf(tokens));
  std::vector<int32_t> released;
  Texts pushed;
  for (size_t i = 0; i < tokens.size(); ++i) {
    pushed.push_back(tokens[i]);
    const StopMatcher::Result result = matcher.push(static_cast<int32_t>(i), released);
    const Expected expected = naive(pushed, stops);
    const bool ordered = std::is_sorted(released.begin(), released.end());
    const bool same =
        ordered && result.stopped == expected.stopped && released.size() == expected.final &&
        (!result.stopped ||
         (result.tail == expected.tail && static_cast<size_t>(result.kept) == expected.final));
    if (!CHECK(same)) return result.stopped;
    if (result.stopped) return true;
  }
  matcher.flush(released);
  CHECK_EQ(released.size(), tokens.size());
  return false;
}

// The text cut behind byte i wherever bit i is set.
Texts split(const std::string& text, unsigned cuts) {
  Texts tokens(1);
  for (size_t i = 0; i < text.size(); ++i) {
    tokens.back() += text[i];
    if (i + 1 < text.size() && ((cuts >> i) & 1) != 0) tokens.emplace_back();
  }
  return tokens;
}

}  // namespace

TEST("stop matcher: every split of every text of 7 letters, with overlapping stops") {
  const std::vector<Texts> stopSets{
      {"ab"},          {"aab", "ab"}, {"bb", "abba"},      {"aaa", "aa", "baab"},
      {"abab", "bab"}, {"b"},         {"aabaa", "abaaba"}, {"bbbbbbbb"}};
  int stopped = 0, ended = 0;
  for (const Texts& stops : stopSets) {
    for (unsigned letters = 0; letters < 128; ++letters) {
      std::string text;
      for (int i = 0; i < 7; ++i) text += ((letters >> i) & 1) != 0 ? 'b' : 'a';
      for (unsigned cuts = 0; cuts < 64; ++cuts)
        (agree(split(text, cuts), stops) ? stopped : ended)++;
    }
  }
  CHECK(stopped > 10000);
  CHECK(ended > 10000);
}

TEST("stop matcher: random texts with tokens of no bytes and bytes that are no characters") {
  std::mt19937 random(3);
  const auto word = [&](size_t longest) {
    std::string text;
    for (size_t left = random() % (longest + 1); left > 0; --left)
      text += "\xe2\x82\n."[random() % 4];
    return text;
  };
  int stopped = 0;
  for (int turn = 0; turn < 20000; ++turn) {
    Texts tokens(1 + random() % 12), stops(1 + random() % 3);
    for (std::string& token : tokens) token = word(4);
    for (std::string& stop : stops) stop = word(4) + ".";
    stopped += agree(tokens, stops) ? 1 : 0;
  }
  CHECK(stopped > 5000);
  CHECK(stopped < 19000);
}

TEST("stop matcher: without stops every token is final at once, vocabulary or not") {
  StopMatcher matcher({}, nullptr);
  std::vector<int32_t> released;
  for (int32_t token = 0; token < 5; ++token) {
    CHECK(!matcher.push(token, released).stopped);
    CHECK_EQ(released.size(), static_cast<size_t>(token) + 1);
  }
}

TEST("stop matcher: a token beyond the vocabulary has no text") {
  StopMatcher matcher({"ab"}, vocabularyOf({"a", "b"}));
  std::vector<int32_t> released;
  CHECK(!matcher.push(0, released).stopped);
  CHECK(!matcher.push(77, released).stopped);
  CHECK(released.empty());
  const StopMatcher::Result result = matcher.push(1, released);
  CHECK(result.stopped);
  CHECK_EQ(result.kept, 0);
  CHECK(result.tail.empty());
}
