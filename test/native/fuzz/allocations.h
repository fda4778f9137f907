// SPDX-License-Identifier: Apache-2.0
// What a piece of code asks operator new for on its thread, so that a test can say: no more than so
// many bytes for each byte that it was given, and all of it given back; and that it copes where one
// fails.
#pragma once

#include <cstdint>

namespace baton::test {

struct Allocations {
  uint64_t bytes = 0;  // asked for, given back or not
  int64_t live = 0;    // not given back
};

// Of this thread since it began.
Allocations allocations();

// Lets the n-th operator new from now on, of any thread, fail once (n from 1), aligned ones too; 0:
// none any more. True when the one asked for before has failed meanwhile.
bool failAllocation(int64_t n);

}  // namespace baton::test
