// SPDX-License-Identifier: Apache-2.0
// The engines for grammars that this build has. A further one is a file and a line of the table.
#pragma once

#include <memory>
#include <vector>

#include "engine/constrain/constraint.h"

namespace baton {

struct ConstrainerKind {
  const char* name;
  const char* version;
  // Of all tokens; those without text never come. Error(CONSTRAINT_INVALID).
  std::shared_ptr<const Constrainer> (*make)(std::shared_ptr<const Vocabulary> vocabulary);
};

// The first is used; none: this build was made without.
const std::vector<const ConstrainerKind*>& constrainerKinds();

}  // namespace baton
