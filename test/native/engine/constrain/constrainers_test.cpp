// SPDX-License-Identifier: Apache-2.0
// Engines for grammars against the obvious one: random expressions whose texts can be listed,
// random vocabularies, and the mask of every place on random walks. Then what they must refuse.
#include "engine/constrain/constrainers.h"

#include <random>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "engine/constrain/finite_grammar.h"

using namespace baton;
using namespace baton::test;

namespace {

// An expression and all its texts, put together side by side.
struct Expression {
  std::string source;
  std::set<std::string> texts;
};

constexpr size_t kMostTexts = 400;

const std::vector<std::string>& letters() {
  static const std::vector<std::string> all = {"a", "b", "c", "\xC3\xA9", "\xE2\x82\xAC"};
  return all;
}

Expression randomExpression(std::mt19937& random, int depth) {
  const auto part = [&] { return randomExpression(random, depth - 1); };
  switch (depth == 0 ? random() % 2 : random() % 6) {
    case 0: {
      const std::string& letter = letters()[random() % letters().size()];
      return {letter, {letter}};
    }
    case 1: {  // a class
      Expression made{"[", {}};
      for (const std::string& letter : letters()) {
        if (random() % 2 == 0) continue;
        made.source += letter;
        made.texts.insert(letter);
      }
      if (made.texts.empty()) return {"b", {"b"}};
      made.source += "]";
      return made;
    }
    case 2: {  // one of two
      const Expression a = part(), b = part();
      Expression made{"(" + a.source + "|" + b.source + ")", a.texts};
      made.texts.insert(b.texts.begin(), b.texts.end());
      return made;
    }
    case 3: {  // a few times
      const Expression a = part();
      const unsigned least = random() % 2, most = least + random() % 3;
      Expression made{
          "(" + a.source + "){" + std::to_string(least) + "," + std::to_string(most) + "}", {}};
      std::set<std::string> times = {""};
      for (unsigned count = 0; count <= most; ++count) {
        if (count >= least) made.texts.insert(times.begin(), times.end());
        std::set<std::string> next;
        for (const std::string& text : times) {
          for (const std::string& one : a.texts) next.insert(text + one);
        }
        times = std::move(next);
        if (made.texts.size() + times.size() > kMostTexts) return a;
      }
      return made;
    }
    default: {  // one after the other
      const Expression a = part(), b = part();
      Expression made{a.source + b.source, {}};
      if (a.texts.size() * b.texts.size() > kMostTexts) return a;
      for (const std::string& one : a.texts) {
        for (const std::string& two : b.texts) made.texts.insert(one + two);
      }
      return made;
    }
  }
}

// Parts of texts, cut anywhere, in the middle of characters too; one token without text.
std::shared_ptr<const Vocabulary> randomVocabulary(std::mt19937& random) {
  std::vector<std::string> tokens = {""};
  for (const std::string& letter : letters()) {
    for (const char byte : letter) tokens.emplace_back(1, byte);
  }
  for (int i = 0; i < 40; ++i) {
    std::string text;
    for (unsigned count = 1 + random() % 4; count > 0; --count)
      text += letters()[random() % letters().size()];
    const size_t from = random() % text.size();
    tokens.push_back(text.substr(from, 1 + random() % (text.size() - from)));
  }
  return vocabularyOf(tokens);
}

std::vector<int32_t> allowedOf(const TokenMask& mask, size_t tokens) {
  std::vector<int32_t> all;
  for (int32_t token = 0; token < static_cast<int32_t>(tokens); ++token) {
    if (mask.has(token)) all.push_back(token);
  }
  return all;
}

// Walks both at once, by tokens that both allow.
void walk(std::mt19937& random, const Grammar& made, const Grammar& obvious, size_t tokens,
          const std::string& source) {
  const auto got = made.begin(), want = obvious.begin();
  TokenMask gotMask(tokens), wantMask(tokens);
  std::string told = source + " behind";
  for (;;) {
    const bool gotEnds = got->mask(gotMask), wantEnds = want->mask(wantMask);
    const std::vector<int32_t> allowed = allowedOf(wantMask, tokens);
    expect(gotEnds == wantEnds && allowedOf(gotMask, tokens) == allowed, __FILE__, __LINE__, told);
    expect(got->end() == want->end(), __FILE__, __LINE__, told + ": another end");
    if (allowed.empty() || (wantEnds && random() % 8 == 0)) return;
    const int32_t token = allowed[random() % allowed.size()];
    got->accept(token);
    want->accept(token);
    told += " " + std::to_string(token);
  }
}

const ConstrainerKind& requireKind() {
  if (constrainerKinds().empty()) SKIP("this build has no engine for grammars: there is no cargo");
  return *constrainerKinds().front();
}

}  // namespace

TEST("constrain: masks are those of a list of texts, at every place of a walk") {
  requireKind();
  for (const ConstrainerKind* kind : constrainerKinds()) {
    for (uint32_t seed = 0; seed < 60; ++seed) {
      std::mt19937 random(seed);
      const auto vocabulary = randomVocabulary(random);
      const auto constrainer = kind->make(vocabulary);
      const size_t tokens = vocabulary->offsets.size() - 1;
      for (int i = 0; i < 5; ++i) {
        const Expression expression = randomExpression(random, 4);
        if (expression.texts == std::set<std::string>{""}) continue;
        const auto made = constrainer->compile({GrammarSpec::Kind::kRegex, expression.source});
        const FiniteGrammar obvious(
            std::vector<std::string>(expression.texts.begin(), expression.texts.end()), vocabulary);
        for (int j = 0; j < 4; ++j) walk(random, *made, obvious, tokens, expression.source);
      }
    }
  }
}

TEST("constrain: a JSON Schema allows the texts that it lists, in any spacing of one space") {
  const auto vocabulary = vocabularyOf({"1", "2", "true", " ", "[", "]", ",", "[1", "1,", "\n"});
  const auto constrainer = requireKind().make(vocabulary);
  const auto made = constrainer->compile(
      {GrammarSpec::Kind::kJsonSchema,
       R"({"type":"array","items":{"enum":[1,2,true]},"minItems":1,"maxItems":2})"});
  const auto output = made->begin();
  TokenMask mask(10);
  const auto ids = [&] {
    const bool ends = output->mask(mask);
    CHECK_EQ(ends, output->end() != GrammarEnd::kNo);
    return allowedOf(mask, 10);
  };
  CHECK(ids() == (std::vector<int32_t>{4, 7}));
  output->accept(7);
  CHECK(ids() == (std::vector<int32_t>{3, 5, 6, 9}));
  output->accept(6);
  CHECK(ids() == (std::vector<int32_t>{0, 1, 2, 3, 9}));
  output->accept(3);
  CHECK(ids() == (std::vector<int32_t>{0, 1, 2}));
  output->accept(2);
  CHECK(ids() == (std::vector<int32_t>{3, 5, 9}));
  CHECK(output->end() == GrammarEnd::kNo);
  output->accept(5);
  CHECK(output->end() == GrammarEnd::kMust);
}

TEST("constrain: outputs of one grammar do not know each other") {
  const auto vocabulary = vocabularyOf({"a", "b"});
  const auto made = requireKind().make(vocabulary)->compile({GrammarSpec::Kind::kRegex, "ab|ba"});
  const auto one = made->begin(), other = made->begin();
  one->accept(0);
  other->accept(1);
  TokenMask mask(2);
  one->mask(mask);
  CHECK(allowedOf(mask, 2) == std::vector<int32_t>{1});
  other->mask(mask);
  CHECK(allowedOf(mask, 2) == std::vector<int32_t>{0});
  CHECK_THROWS("CONSTRAINT_INVALID", other->accept(1));
}

TEST(
    "constrain: what no text of the vocabulary satisfies is refused, and so is what is no "
    "grammar") {
  const auto constrainer = requireKind().make(vocabularyOf({"a", "b", "{", "}"}));
  const auto refused = [&](GrammarSpec::Kind kind, const std::string& text) {
    CHECK_THROWS("CONSTRAINT_INVALID", constrainer->compile({kind, text}));
  };
  for (const char* text : {"(", "[z-a]", "a(?=b)", "\\1", "[^\\s\\S]", "z"})
    refused(GrammarSpec::Kind::kRegex, text);
  for (const char* text : {"", "{", "false", "[]", R"({"type":"text"})", R"({"not":{}})",
                           R"({"$ref":"#/nowhere"})", R"({"$ref":"https://example.com/x"})",
                           R"({"type":"integer","minimum":2,"maximum":1})", R"({"enum":[]})"})
    refused(GrammarSpec::Kind::kJsonSchema, text);
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += R"({"items":)";
  refused(GrammarSpec::Kind::kJsonSchema, deep);
  refused(GrammarSpec::Kind::kRegex, std::string(100000, '('));
  refused(GrammarSpec::Kind::kRegex, std::string(2 << 20, 'a'));
  refused(GrammarSpec::Kind::kRegex, "a\xFF");
}
