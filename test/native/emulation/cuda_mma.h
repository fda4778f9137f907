// SPDX-License-Identifier: Apache-2.0
// Tensor cores and asynchronous copies of native/cuda/mma.cuh, as the PTX ISA describes them. Sums
// of products are exact and then cut off, which no device does worse. What is copied arrives when
// the thread has waited for it and not before: until then the place holds 0xff, NaN in every format
// of floats, so that whoever reads too early, or still reads when the next copy begins, is seen.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace baton::emulation {

void loadMatrices(unsigned* out, int count, bool transposed, const void* row);
void multiplyHalves(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, bool bfloat);
void multiplyBytes(int (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);
void multiplyBytes(int (&c)[4], unsigned a0, unsigned a1, unsigned b0);

void copyAsync(void* shared, const void* global, int bytes, bool there);
void endCopies();
void waitForCopies(size_t left);

// Times that ldmatrix had to read again because eight rows were not in 32 banks, since the last
// call.
int takeBankConflicts();

// The copies of a thread that are under way, by group; the last group has not ended.
struct Copy {
  std::byte* to;
  int bytes;
  std::array<std::byte, 16> data;
};
using Copies = std::vector<std::vector<Copy>>;

}  // namespace baton::emulation
