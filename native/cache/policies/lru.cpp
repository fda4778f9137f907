// SPDX-License-Identifier: Apache-2.0
// Least recently used.
#include "cache/policies/policy.h"

namespace baton {
namespace {

double worth(const BlockUse& use, double) {
  return use.lastUse;
}

}  // namespace

const Policy kLru{"lru", worth};

}  // namespace baton
