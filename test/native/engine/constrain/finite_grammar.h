// SPDX-License-Identifier: Apache-2.0
// The obvious grammar: a list of texts. A token may come next if some text of the list begins with
// what was written and it. What engines for grammars are compared with, and what tests of the loop
// run on, whether the build has such an engine or not.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/constrain/constraint.h"

namespace baton::test {

class FiniteGrammar : public Grammar {
 public:
  FiniteGrammar(std::vector<std::string> texts, std::shared_ptr<const Vocabulary> vocabulary)
      : list_(std::make_shared<const List>(List{std::move(texts), std::move(vocabulary)})) {}

  std::unique_ptr<Constraint> begin() const override { return std::make_unique<Output>(list_); }

 private:
  struct List {
    std::vector<std::string> texts;
    std::shared_ptr<const Vocabulary> vocabulary;

    bool hasBeginning(std::string_view text) const {
      return std::any_of(texts.begin(), texts.end(), [&](const std::string& one) {
        return std::string_view(one).substr(0, text.size()) == text;
      });
    }
  };

  class Output : public Constraint {
   public:
    explicit Output(std::shared_ptr<const List> list) : list_(std::move(list)) {}

    bool mask(TokenMask& allowed) override {
      std::fill_n(allowed.data(), allowed.words(), 0u);
      const auto tokens = static_cast<int32_t>(list_->vocabulary->offsets.size()) - 1;
      for (int32_t token = 0; token < tokens; ++token) {
        const std::string_view text = list_->vocabulary->text(token);
        if (!text.empty() && list_->hasBeginning(text_ + std::string(text)))
          allowed.set(token, true);
      }
      return end() != GrammarEnd::kNo;
    }

    void accept(int32_t token) override {
      text_ += list_->vocabulary->text(token);
      if (!list_->hasBeginning(text_)) throw Error(code::kConstraintInvalid, "not in the list");
    }

    GrammarEnd end() override {
      const auto& texts = list_->texts;
      if (std::find(texts.begin(), texts.end(), text_) == texts.end()) return GrammarEnd::kNo;
      const auto longer = [this](const std::string& one) {
        return one.size() > text_.size() && one.compare(0, text_.size(), text_) == 0;
      };
      return std::any_of(texts.begin(), texts.end(), longer) ? GrammarEnd::kMay : GrammarEnd::kMust;
    }

   private:
    std::shared_ptr<const List> list_;
    std::string text_;
  };

  std::shared_ptr<const List> list_;
};

inline std::shared_ptr<const Vocabulary> vocabularyOf(const std::vector<std::string>& tokens) {
  auto vocabulary = std::make_shared<Vocabulary>();
  vocabulary->offsets.push_back(0);
  for (const std::string& token : tokens) {
    vocabulary->bytes += token;
    vocabulary->offsets.push_back(static_cast<uint32_t>(vocabulary->bytes.size()));
  }
  return vocabulary;
}

}  // namespace baton::test
