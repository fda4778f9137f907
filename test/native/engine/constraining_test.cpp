// SPDX-License-Identifier: Apache-2.0
// Constrained outputs in the loop: whatever the model would say, drafted or not, greedy or sampled,
// alone or beside others, the text is one of the grammar's, and it ends where
// the grammar lets it end.
#include <algorithm>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "engine/constrain/constrainers.h"
#include "engine/constrain/finite_grammar.h"
#include "engine/world.h"

using namespace baton;
using namespace baton::test;

namespace {

constexpr int kTokens = 500;
constexpr int32_t kCloser = 499;

// Token t is a letter, or a few of them; the closer has no text.
std::shared_ptr<const Vocabulary> letters() {
  static const auto made = [] {
    std::mt19937 random(3);
    std::vector<std::string> tokens;
    for (int token = 0; token < kTokens; ++token) {
      std::string text;
      for (unsigned count = 1 + random() % 3; count > 0 && token != kCloser; --count)
        text += static_cast<char>('a' + random() % 5);
      tokens.push_back(text);
    }
    return vocabularyOf(tokens);
  }();
  return made;
}

std::string textOf(const std::vector<int32_t>& tokens) {
  std::string text;
  for (const int32_t token : tokens) text += letters()->text(token);
  return text;
}

std::vector<std::string> randomTexts(uint32_t seed, size_t count, size_t length) {
  std::mt19937 random(seed);
  std::vector<std::string> texts;
  while (texts.size() < count) {
    std::string text;
    while (text.size() < length) text += static_cast<char>('a' + random() % 5);
    texts.push_back(text);
    if (random() % 3 == 0) texts.push_back(text.substr(0, length / 2));
  }
  return texts;
}

GenerateSpec constrained(std::vector<std::string> texts, int maxTokens = 60) {
  GenerateSpec spec = World::greedy(maxTokens);
  spec.closers = {kCloser};
  spec.grammar = std::make_shared<FiniteGrammar>(std::move(texts), letters());
  return spec;
}

Told run(World& world, GenerateSpec spec, int rows = 7) {
  const auto segment = world.segment();
  return world.sink->end(
      world.engine.submit(World::generation(World::tokens(segment, rows), std::move(spec))));
}

bool has(const std::vector<std::string>& texts, const std::string& text) {
  return std::find(texts.begin(), texts.end(), text) != texts.end();
}

}  // namespace

TEST("constraining: texts are the grammar's, the same with guesses and without") {
  EngineOptions drafted;
  drafted.drafting = true;
  drafted.draftRowCost = 0;
  World plain, guessing(drafted);
  int64_t accepted = 0;
  for (uint32_t seed = 0; seed < 12; ++seed) {
    // Texts that repeat themselves, so that guesses hold.
    std::vector<std::string> texts = randomTexts(seed, 6, 8);
    for (std::string& text : texts) text += text + text + text;
    GenerateSpec spec = constrained(texts);
    if (seed % 2 == 1) {
      spec.sampler.temperature = 1.5f;
      spec.sampler.seed = seed;
      spec.sampler.topK = seed % 4 == 1 ? 3 : 0;
      spec.sampler.topP = seed % 3 == 1 ? 0.7f : 1;
      spec.sampler.minP = seed % 5 == 1 ? 0.1f : 0;
    }
    spec.logprobs = seed % 3 == 0 ? 2 : -1;
    const Told want = run(plain, spec), got = run(guessing, spec);
    CHECK_EQ(want.failed, "");
    CHECK(has(texts, textOf(want.tokens)));
    CHECK(want.done.reason == DoneReason::kClosed);
    CHECK(want.done.accepted);
    CHECK(got.tokens == want.tokens);
    CHECK(got.logprobs.chosen == want.logprobs.chosen);
    CHECK(got.done.closer == want.done.closer);
    accepted += got.done.stats.acceptedTokens;
  }
  CHECK(accepted > 0);
}

TEST("constraining: figures are those of the model's own distribution") {
  World world;
  GenerateSpec spec = constrained({"abcabc"});
  spec.logprobs = 1;
  const Told told = run(world, spec);
  REQUIRE(told.logprobs.chosen.size() == told.tokens.size());
  bool below = false;  // the likeliest token is not the one that the grammar left
  for (size_t i = 0; i < told.tokens.size(); ++i)
    below = below || told.logprobs.topIds[i] != told.tokens[i];
  CHECK(below);
}

TEST("constraining: a closing token ends an output where the grammar lets it, and nowhere else") {
  World world;
  GenerateSpec spec = constrained({"ab", "abcde"});
  for (int32_t token = 0; token < kTokens; ++token) {  // a letter at a time
    const bool many = letters()->text(token).size() > 1;
    if (!many && token != kCloser) continue;
    spec.sampler.biasIds.push_back(token);
    spec.sampler.biases.push_back(many ? -std::numeric_limits<float>::infinity() : 1e6f);
  }
  const Told told = run(world, spec);
  CHECK_EQ(textOf(told.tokens), "ab");
  CHECK_EQ(told.done.closer, kCloser);
  CHECK(told.done.accepted);
  spec.closers.clear();  // then it goes on while it may, and ends when it must
  const Told unclosed = run(world, spec);
  CHECK_EQ(textOf(unclosed.tokens), "abcde");
  CHECK(unclosed.done.reason == DoneReason::kClosed);
  CHECK_EQ(unclosed.done.closer, -1);
  CHECK(unclosed.done.pending == unclosed.tokens.back());
}

TEST(
    "constraining: tokens that run out in the middle are told, as are those that suffice just so") {
  World world;
  const std::string text = "abcdeabcdeabcde";
  const Told whole = run(world, constrained({text}));
  const auto count = static_cast<int>(whole.tokens.size());
  const Told exact = run(world, constrained({text}, count));
  CHECK(exact.done.reason == DoneReason::kClosed && exact.done.accepted);
  CHECK_EQ(textOf(exact.tokens), text);
  const Told cut = run(world, constrained({text}, count - 1));
  CHECK(cut.done.reason == DoneReason::kLength && !cut.done.accepted);
  GenerateSpec stopped = constrained({text});
  world.engine.setVocabulary(letters());
  stopped.stops = {"ea"};
  const Told stop = run(world, stopped);
  CHECK(stop.done.reason == DoneReason::kStop && !stop.done.accepted);
}

TEST("constraining: outputs beside each other have each its own grammar, or none") {
  World world;
  std::vector<std::vector<std::string>> lists;
  std::vector<Told> alone;
  std::vector<uint64_t> jobs;
  std::vector<std::shared_ptr<Segment>> segments;
  for (uint32_t i = 0; i < 5; ++i) {
    lists.push_back(randomTexts(i + 40, 4, 9));
    alone.push_back(run(world, i == 2 ? World::greedy(9) : constrained(lists[i]), 4 + int(i)));
  }
  world.sink->hold();
  for (uint32_t i = 0; i < 5; ++i) {
    segments.push_back(world.segment());
    jobs.push_back(
        world.engine.submit(World::generation(World::tokens(segments[i], 4 + int(i)),
                                              i == 2 ? World::greedy(9) : constrained(lists[i]))));
  }
  world.sink->letGo();
  for (size_t i = 0; i < 5; ++i) {
    const Told told = world.sink->end(jobs[i]);
    CHECK(told.tokens == alone[i].tokens);
    if (i != 2) CHECK(has(lists[i], textOf(told.tokens)));
  }
}

TEST("constraining: an output that goes on takes its grammar along") {
  World world;
  const std::vector<std::string> texts = randomTexts(77, 5, 12);
  const Told whole = run(world, constrained(texts));
  REQUIRE(whole.tokens.size() > 3);
  GenerateSpec rest = constrained(texts);
  rest.prior.assign(whole.tokens.begin(), whole.tokens.begin() + 2);
  const auto segment = world.segment();
  Append append = World::tokens(segment, 7);
  append.tokens.insert(append.tokens.end(), rest.prior.begin(), rest.prior.end());
  append.count += 2;
  const Told told = world.sink->end(world.engine.submit(World::generation(append, rest)));
  CHECK(std::vector<int32_t>(whole.tokens.begin() + 2, whole.tokens.end()) == told.tokens);
  rest.grammar = std::make_shared<FiniteGrammar>(std::vector<std::string>{"zz"}, letters());
  rest.prior = {whole.tokens[0]};
  const auto other = world.segment();
  CHECK_THROWS("CONSTRAINT_INVALID",
               world.engine.submit(World::generation(World::tokens(other, 7), rest)));
}

TEST("constraining: what cannot go on fails alone, and says why") {
  World world;
  GenerateSpec banned = constrained({"aaaa"});
  for (int32_t token = 0; token < kTokens; ++token) {
    if (letters()->text(token).find('a') == std::string_view::npos) continue;
    banned.sampler.biasIds.push_back(token);
    banned.sampler.biases.push_back(-std::numeric_limits<float>::infinity());
  }
  CHECK_EQ(run(world, banned).failed, "CONSTRAINT_INVALID");
  CHECK_EQ(run(world, constrained({"xyz"})).failed, "CONSTRAINT_INVALID");
  CHECK_EQ(run(world, constrained({"abc"})).failed, "");
}

TEST("constraining: the engine makes grammars of its own vocabulary") {
  World world;
  const GrammarSpec spec{GrammarSpec::Kind::kRegex, "a(bc){2,3}"};
  if (constrainerKinds().empty()) {
    CHECK_THROWS("CONSTRAINT_UNAVAILABLE", world.engine.compile(spec));
    return;
  }
  CHECK_THROWS("OPTION_INVALID", world.engine.compile(spec));
  world.engine.setVocabulary(letters());
  GenerateSpec generate = World::greedy(40);
  generate.grammar = world.engine.compile(spec);
  const std::string text = textOf(run(world, generate).tokens);
  CHECK(text == "abcbc" || text == "abcbcbc");
}
