// SPDX-License-Identifier: Apache-2.0
// The table.
#include "cache/policies/policy.h"

namespace baton {

const std::vector<const Policy*>& policies() {
  static const std::vector<const Policy*> all{&kLru, &kCostAware};
  return all;
}

const Policy* findPolicy(std::string_view name) {
  for (const Policy* policy : policies()) {
    if (name == policy->name) return policy;
  }
  return nullptr;
}

}  // namespace baton
