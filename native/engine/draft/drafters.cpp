// SPDX-License-Identifier: Apache-2.0
// The table of drafters.
#include "engine/draft/drafter.h"
#include "engine/draft/lookup.h"

namespace baton {

std::span<const DrafterKind> drafterKinds() {
  static constexpr DrafterKind kKinds[] = {
      {"lookup", makeLookup},
  };
  return kKinds;
}

}  // namespace baton
