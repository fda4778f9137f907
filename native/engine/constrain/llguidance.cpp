// SPDX-License-Identifier: Apache-2.0
#include "engine/constrain/llguidance.h"

#include <array>
#include <string_view>
#include <utility>

#include "base/error.h"

// llguidance/lib.rs
extern "C" {
struct BatonMessage {
  char* text;
  size_t size;
  size_t length;
};
struct BatonVocabulary;
struct BatonMatcher;
BatonVocabulary* baton_llg_vocabulary(const char* bytes, const uint32_t* offsets, uint32_t count,
                                      BatonMessage* message);
void baton_llg_free_vocabulary(BatonVocabulary* vocabulary);
BatonMatcher* baton_llg_matcher(const BatonVocabulary* vocabulary, bool json, const char* text,
                                size_t length, BatonMessage* message);
BatonMatcher* baton_llg_clone(const BatonMatcher* from, BatonMessage* message);
void baton_llg_free_matcher(BatonMatcher* matcher);
int32_t baton_llg_mask(BatonMatcher* matcher, uint32_t* words, size_t count, BatonMessage* message);
int32_t baton_llg_accept(BatonMatcher* matcher, uint32_t token, BatonMessage* message);
int32_t baton_llg_ends(BatonMatcher* matcher);
}

namespace baton {
namespace {

class Said {
 public:
  BatonMessage* to() { return &message_; }
  Error error() const {
    return Error(code::kConstraintInvalid, std::string(message_.text, message_.length));
  }

 private:
  std::array<char, 1000> text_{};
  BatonMessage message_{text_.data(), text_.size(), 0};
};

struct FreeVocabulary {
  void operator()(BatonVocabulary* one) const { baton_llg_free_vocabulary(one); }
};
struct FreeMatcher {
  void operator()(BatonMatcher* one) const { baton_llg_free_matcher(one); }
};
using VocabularyPtr = std::unique_ptr<BatonVocabulary, FreeVocabulary>;
using MatcherPtr = std::unique_ptr<BatonMatcher, FreeMatcher>;

class LlgConstraint : public Constraint {
 public:
  explicit LlgConstraint(MatcherPtr matcher) : matcher_(std::move(matcher)) {}

  bool mask(TokenMask& allowed) override {
    Said said;
    const int32_t ends = baton_llg_mask(matcher_.get(), allowed.data(), allowed.words(), said.to());
    if (ends < 0) throw said.error();
    return ends == 1;
  }

  void accept(int32_t token) override {
    Said said;
    if (baton_llg_accept(matcher_.get(), static_cast<uint32_t>(token), said.to()) < 0)
      throw said.error();
  }

  GrammarEnd end() override { return static_cast<GrammarEnd>(baton_llg_ends(matcher_.get())); }

 private:
  MatcherPtr matcher_;
};

class LlgGrammar : public Grammar {
 public:
  LlgGrammar(std::shared_ptr<const BatonVocabulary> vocabulary, MatcherPtr first)
      : vocabulary_(std::move(vocabulary)), first_(std::move(first)) {}

  std::unique_ptr<Constraint> begin() const override {
    Said said;
    MatcherPtr matcher(baton_llg_clone(first_.get(), said.to()));
    if (matcher == nullptr) throw said.error();
    return std::make_unique<LlgConstraint>(std::move(matcher));
  }

 private:
  std::shared_ptr<const BatonVocabulary> vocabulary_;
  MatcherPtr first_;
};

// Parsing recurses in the depth of a text and takes memory by its length: neither is the caller's
// to choose.
constexpr size_t kMostBytes = size_t{1} << 20;

class LlgConstrainer : public Constrainer {
 public:
  LlgConstrainer(std::shared_ptr<const BatonVocabulary> vocabulary, size_t tokens)
      : vocabulary_(std::move(vocabulary)), tokens_(tokens) {}

  std::shared_ptr<const Grammar> compile(const GrammarSpec& spec) const override {
    if (spec.text.size() > kMostBytes) {
      throw Error(code::kConstraintInvalid, "it has " + std::to_string(spec.text.size()) +
                                                " bytes, and may have at most " +
                                                std::to_string(kMostBytes));
    }
    Said said;
    const bool json = spec.kind == GrammarSpec::Kind::kJsonSchema;
    MatcherPtr first(
        baton_llg_matcher(vocabulary_.get(), json, spec.text.data(), spec.text.size(), said.to()));
    if (first == nullptr) throw said.error();
    auto grammar = std::make_shared<LlgGrammar>(vocabulary_, std::move(first));
    requireText(*grammar);
    return grammar;
  }

 private:
  // A grammar that nothing can begin is refused by some other name, or by its first mask.
  void requireText(const Grammar& grammar) const {
    std::string why;
    try {
      TokenMask allowed(tokens_);
      if (grammar.begin()->mask(allowed) || !allowed.none()) return;
    } catch (const Error& error) {
      why = std::string(" (") + error.what() + ")";
    }
    throw Error(code::kConstraintInvalid, "no text of this model's tokens satisfies it" + why);
  }

  std::shared_ptr<const BatonVocabulary> vocabulary_;
  size_t tokens_;
};

std::shared_ptr<const Constrainer> make(std::shared_ptr<const Vocabulary> vocabulary) {
  const size_t tokens = vocabulary->offsets.empty() ? 0 : vocabulary->offsets.size() - 1;
  if (tokens == 0) throw Error(code::kConstraintInvalid, "the model has no vocabulary");
  Said said;
  VocabularyPtr made(baton_llg_vocabulary(vocabulary->bytes.data(), vocabulary->offsets.data(),
                                          static_cast<uint32_t>(tokens), said.to()));
  if (made == nullptr) throw said.error();
  return std::make_shared<LlgConstrainer>(std::shared_ptr<const BatonVocabulary>(std::move(made)),
                                          tokens);
}

}  // namespace

const ConstrainerKind kLlguidance = {"llguidance", BATON_LLGUIDANCE, make};

}  // namespace baton
