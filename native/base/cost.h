// SPDX-License-Identifier: Apache-2.0
// What an operation takes, counted from its shapes: the least that has to be moved and computed,
// not what a kernel happens to do.
#pragma once

#include <cstdint>

namespace baton {

struct Cost {
  int64_t rows = 0;
  // Read and written, each array once.
  double bytes = 0;
  // Multiplications, additions, divisions, roots and exponentials each count as one.
  double flops = 0;
  // Of `flops`, those that are int8 dot products.
  double int8 = 0;
  // Of `flops`, those that are dot products of bfloat16.
  double bf16 = 0;

  Cost& operator+=(const Cost& other) {
    rows += other.rows;
    bytes += other.bytes;
    flops += other.flops;
    int8 += other.int8;
    bf16 += other.bf16;
    return *this;
  }
};

}  // namespace baton
