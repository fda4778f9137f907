// SPDX-License-Identifier: Apache-2.0
// Greedy-Dual-Size-Frequency (Cherkasova, HP Labs HPL-98-69R1, 1998): what it would take to compute
// the block again, for each byte that it takes here, as often as it was used; the floor lets blocks
// go that were used much, long ago.
#include "cache/policies/policy.h"

namespace baton {
namespace {

double worth(const BlockUse& use, double floor) {
  return floor + use.uses * use.cost / use.bytes;
}

}  // namespace

const Policy kCostAware{"cost", worth};

}  // namespace baton
