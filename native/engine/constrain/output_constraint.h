// SPDX-License-Identifier: Apache-2.0
// The constraint of one output in the engine's terms: what may be sampled next, closing tokens
// included, and what became of it. The mask is made anywhere (one thread at a time), everything
// else on the engine thread.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "engine/constrain/constraint.h"

namespace baton {

class OutputConstraint {
 public:
  // Goes on behind `prior`. `vocab`: rows of the head. Error(CONSTRAINT_INVALID).
  OutputConstraint(const Grammar& grammar, int vocab, const std::vector<int32_t>& closers,
                   const std::vector<int32_t>& prior);

  // Makes the mask of the next token. A failure is kept for error().
  void prepare() noexcept;

  // The mask of the last prepare().
  const TokenMask& allowed() const { return allowed_; }

  // Takes what was sampled by the mask. False: it cannot be taken, see error().
  bool take(int32_t token, bool closes) noexcept;

  // May the output end behind what was taken? Not once a stop string has cut it.
  GrammarEnd end();

  const std::optional<Error>& error() const { return error_; }

 private:
  std::unique_ptr<Constraint> constraint_;
  TokenMask allowed_;
  std::vector<int32_t> closers_;
  std::optional<Error> error_;
};

}  // namespace baton
