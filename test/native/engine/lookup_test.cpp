// SPDX-License-Identifier: Apache-2.0
// Prompt lookup against the definition, written down as slowly as it reads; and when a draft pays.
#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "check.h"
#include "engine/draft/lookup.h"
#include "engine/draft/odds.h"
#include "engine/draft/output_draft.h"

using namespace baton;

namespace {

using Tokens = std::vector<int32_t>;

bool isMatch(const Tokens& text, size_t end, size_t length) {
  if (length > end) return false;
  for (size_t i = 1; i <= length; ++i) {
    const int32_t token = text[end - i];
    if (token == Drafter::kBorder || token != text[text.size() - i]) return false;
  }
  return true;
}

// For every length from the longest down, every place from the latest back: what followed there.
Tokens reference(const Tokens& text, size_t most, int& support) {
  for (size_t length = Lookup::kMostMatch; length >= 1; --length) {
    for (size_t end = text.size(); end-- > 1;) {
      if (!isMatch(text, end, length) || text[end] == Drafter::kBorder) continue;
      Tokens whole = text;
      Tokens guesses;
      for (size_t at = end; guesses.size() < most && whole[at] != Drafter::kBorder; ++at) {
        guesses.push_back(whole[at]);
        whole.push_back(whole[at]);
      }
      support = static_cast<int>(length);
      return guesses;
    }
  }
  return {};
}

Tokens proposed(const Drafter& drafter, int most, int& support) {
  Tokens guesses(static_cast<size_t>(std::max(most, 0)), -7);
  const Guesses made = drafter.propose(most, guesses.data());
  support = made.support;
  guesses.resize(static_cast<size_t>(made.count));
  return guesses;
}

void push(Drafter& drafter, const Tokens& tokens) {
  for (const int32_t token : tokens) drafter.push(token);
}

}  // namespace

TEST("lookup: the longest match counts, then the latest, as the definition says") {
  std::mt19937 random(5);
  size_t some = 0, long_ = 0;
  for (int round = 0; round < 300; ++round) {
    const int alphabet = 2 + static_cast<int>(random() % 40);
    const bool roomy = round % 2 == 0;
    const size_t count = 1 + random() % 200;
    Lookup lookup(roomy ? count : random() % 40);
    Tokens text;
    while (text.size() < count) {
      const bool quotes = random() % 4 == 0 && text.size() > 4;
      const size_t from = quotes ? random() % text.size() : 0;
      const size_t length = quotes ? 1 + random() % 14 : 1;
      for (size_t i = 0; i < length && text.size() < count; ++i) {
        int32_t token = quotes ? text[from + i] : static_cast<int32_t>(random() % alphabet) * 977;
        if (random() % 25 == 0) token = Drafter::kBorder;
        text.push_back(token);
        lookup.push(token);
        const int most = static_cast<int>(random() % 17);
        int support = 0, wanted = 0;
        const Tokens ours = proposed(lookup, most, support);
        const Tokens theirs =
            most > 0 ? reference(text, static_cast<size_t>(most), wanted) : Tokens{};
        REQUIRE(ours == theirs);
        if (theirs.empty()) continue;
        REQUIRE(support == wanted);
        ++some;
        long_ += support > 3 ? 1 : 0;
      }
    }
  }
  CHECK(some > 10000);
  CHECK(long_ > 1000);
}

TEST("lookup: borders end matches and guesses, loops go on, nothing comes of nothing") {
  int support = 0;
  Lookup lookup(4);
  CHECK(proposed(lookup, 5, support).empty());
  lookup.push(Drafter::kBorder);
  CHECK(proposed(lookup, 5, support).empty());
  push(lookup, {1, 2, 3, Drafter::kBorder, 4, 1, 2});
  CHECK(proposed(lookup, 5, support) == (Tokens{3}));
  CHECK_EQ(support, 2);
  push(lookup, {1, 2});
  CHECK(proposed(lookup, 5, support) == (Tokens{1, 2, 1, 2, 1}));
  Lookup same(0);
  push(same, Tokens(1000, 9));
  CHECK(proposed(same, 15, support) == Tokens(15, 9));
  CHECK_EQ(support, Lookup::kMostMatch);
  CHECK(proposed(same, 0, support).empty());
}

TEST("drafters: each kind keeps its contract") {
  std::mt19937 random(8);
  CHECK(!drafterKinds().empty());
  for (const DrafterKind& kind : drafterKinds()) {
    const std::unique_ptr<Drafter> drafter = kind.make(16);
    for (int i = 0; i < 500; ++i) {
      drafter->push(random() % 9 == 0 ? Drafter::kBorder : static_cast<int32_t>(random() % 6));
      std::array<int32_t, 17> guesses;
      guesses.fill(-7);
      const int most = static_cast<int>(random() % 16);
      const Guesses made = drafter->propose(most, guesses.data());
      CHECK(made.count >= 0 && made.count <= most && made.support >= 1);
      for (int g = 0; g < 17; ++g) {
        const int32_t guess = guesses[static_cast<size_t>(g)];
        CHECK(g < made.count ? guess >= 0 && guess < 6 : guess == -7);  // tokens that it was told
      }
    }
  }
}

TEST("odds: chances follow what was seen lately, and a row pays by them") {
  DraftOdds odds;
  CHECK(odds.chance(1) < odds.chance(2) && odds.chance(4) < odds.chance(8));
  CHECK_EQ(odds.chance(8), odds.chance(80));
  const double other = odds.chance(3);
  for (int i = 0; i < 60; ++i) odds.note(2, false);
  CHECK(odds.chance(2) < 0.01);
  for (int i = 0; i < 20; ++i) odds.note(2, true);
  CHECK(odds.chance(2) > 0.5);
  CHECK_EQ(odds.chance(3), other);

  TurnCost alone{0.25};
  alone.addRows(1);
  CHECK_NEAR(alone.cost, 1, 1e-12);
  CHECK(alone.pays(0.26) && !alone.pays(0.24));
  TurnCost full{0.25};  // beside many rows a guess must be nearly certain
  full.addRows(200);
  CHECK(full.pays(0.99) && !full.pays(0.9));
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kAmx}) {
    CHECK(rowCost(isa) > 0 && rowCost(isa) <= 1);
  }
  TurnCost serial{1};  // rows one after the other: nothing pays
  serial.addRows(1);
  CHECK(!serial.pays(1));
}

TEST("draft: guesses that fail become fewer, guesses that hold come back") {
  OutputDraft draft(4096);
  std::mt19937 random(3);
  Tokens passage;
  for (int i = 0; i < 300; ++i) passage.push_back(static_cast<int32_t>(random() % 30));
  draft.read(passage);
  Tokens output;
  const auto turn = [&](int32_t token) {
    output.push_back(token);
    draft.follow(output);
    TurnCost cost{0.25};
    cost.addRows(1);
    return draft.propose(15, {}, cost);
  };
  int early = 0, late = 0, quoting = 0;
  for (int i = 0; i < 100; ++i) {  // nothing to do with the passage
    const int guesses = turn(static_cast<int32_t>(random() % 30));
    (i < 50 ? early : late) += guesses;
  }
  CHECK(late <= early);
  CHECK(late < 30);
  for (size_t i = 0; i < 60; ++i) {
    const int guesses = turn(passage[100 + i]);
    if (i >= 40) quoting += guesses;
    if (guesses > 0) CHECK_EQ(draft.rows()[0], passage[100 + i]);
  }
  CHECK(quoting > 20 * 5);
}

TEST("draft: no guess is a closing token, and none is beyond the most") {
  OutputDraft draft(64);
  draft.read({1, 2, 3, 4, 5, 6, 7, 8});
  draft.follow({1});
  TurnCost free{0};
  free.addRows(1);
  CHECK_EQ(draft.propose(15, {5}, free), 3);
  CHECK_EQ(draft.rows()[3], 4);
  CHECK_EQ(draft.propose(2, {}, free), 2);
  CHECK_EQ(draft.propose(0, {}, free), 0);
  CHECK_EQ(draft.propose(-1, {2}, free), 0);
}
