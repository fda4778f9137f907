// SPDX-License-Identifier: Apache-2.0
#include "engine/constrain/constrainers.h"

#ifdef BATON_LLGUIDANCE
#include "engine/constrain/llguidance.h"
#endif

namespace baton {

const std::vector<const ConstrainerKind*>& constrainerKinds() {
  static const std::vector<const ConstrainerKind*> kinds = {
#ifdef BATON_LLGUIDANCE
      &kLlguidance,
#endif
  };
  return kinds;
}

}  // namespace baton
