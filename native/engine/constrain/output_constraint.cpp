// SPDX-License-Identifier: Apache-2.0
#include "engine/constrain/output_constraint.h"

#include <exception>
#include <string>

namespace baton {
namespace {

// What a grammar of one's own says of it.
Error grammarGaveUp(const std::string& why) {
  return Error(code::kConstraintInvalid,
               "the grammar of the output could not be followed any further: " + why +
                   "; make the schema or expression simpler");
}

}  // namespace

OutputConstraint::OutputConstraint(const Grammar& grammar, int vocab,
                                   const std::vector<int32_t>& closers,
                                   const std::vector<int32_t>& prior)
    : constraint_(grammar.begin()), allowed_(static_cast<size_t>(vocab)) {
  for (const int32_t closer : closers) {
    if (closer >= 0 && closer < vocab) closers_.push_back(closer);
  }
  for (const int32_t token : prior) constraint_->accept(token);
}

void OutputConstraint::prepare() noexcept {
  try {
    const bool ends = constraint_->mask(allowed_);
    for (const int32_t closer : closers_) allowed_.set(closer, ends);
    if (allowed_.none()) {
      error_ = Error(code::kConstraintInvalid,
                     ends ? "the output is complete, and there is no closing token to end it with"
                          : "no token of this model goes on with the output as its grammar asks; "
                            "make the schema or expression simpler");
    }
  } catch (const std::exception& error) {
    error_ = grammarGaveUp(error.what());
  }
}

bool OutputConstraint::take(int32_t token, bool closes) noexcept {
  try {
    if (!allowed_.has(token)) {
      error_ = Error(code::kConstraintInvalid,
                     "every token that the grammar of the output allows here is banned; take what "
                     "it needs out of logitBias");
      return false;
    }
    if (!closes) constraint_->accept(token);
    return true;
  } catch (const std::exception& error) {
    error_ = grammarGaveUp(error.what());
    return false;
  }
}

GrammarEnd OutputConstraint::end() {
  return constraint_->end();
}

}  // namespace baton
