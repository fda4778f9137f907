// SPDX-License-Identifier: Apache-2.0
// What a GPU can do at most, as kernels: nothing, and a copy.
#pragma once

#include <cstddef>

namespace baton::bench {

void emptyCuda();
// Both begin at 16 bytes; bytes is a multiple of 16.
void copyCuda(void* to, const void* from, size_t bytes);

}  // namespace baton::bench
