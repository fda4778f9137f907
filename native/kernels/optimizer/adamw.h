// SPDX-License-Identifier: Apache-2.0
// AdamW (Loshchilov and Hutter, 2019, algorithm 2) of all trained numbers at once, with the length
// of their gradient before it: what src/tune/optimizer.ts says, bit for bit. An element is computed
// in float64, in the order written there, and rounded where it is stored.
//
// Numbers are worked on in pieces of kAdamWPiece, the last one shorter. A sum goes in kAdamWLanes
// lanes: lane l takes every kAdamWLanes'th term from the l-th on, in order; each 32 neighbours are
// halved (lane l takes lane l + 16, then + 8, ... + 1), and what is left is added in order. The
// gradient's length is the root of such a sum of such sums of the pieces, so its bits depend
// neither on the device nor on how pieces are dealt out.
#pragma once

#include <cstddef>
#include <cstdint>

namespace baton {

inline constexpr int kAdamWPiece = 1024, kAdamWLanes = 256;

struct AdamWArgs {
  float* value;           // [n]
  float* first;           // [n] moments
  float* second;          // [n]
  const float* gradient;  // [n]
  double* sums;           // [pieces] of the gradient's squares
  // [1 + pieces] The gradient's length before it is shortened, and of each piece how many values
  // are no finite numbers.
  double* report;
  int n;
  double maxNorm;      // a longer gradient is shortened to it; infinity: none is
  double stepSize;     // learning rate / (1 - beta1^step)
  double secondScale;  // sqrt(1 - beta2^step)
  double kept;         // 1 - learning rate * weight decay
  double beta1, beta2, epsilon;
};

constexpr int adamWPieces(int n) {
  return n / kAdamWPiece + (n % kAdamWPiece > 0 ? 1 : 0);
}

// Pieces [p0, p1): `squareSums` fills `sums`; `adamw`, which wants all of them, does the rest. A
// gradient whose length is no finite number changes no value and no moment.
using AdamWFn = void (*)(const AdamWArgs& args, int p0, int p1);

}  // namespace baton
