// SPDX-License-Identifier: Apache-2.0
// Contract of the int8 layers of a decode step, whose launches cost as much as their work: what
// makes the quants of a few rows, the layers that read them, and the gated unit behind two of them
// are one launch. Bits are those of one operation after the other (ops.h). Pointers are the
// device's.
#pragma once

#include "kernels/linear/linear.h"
#include "kernels/rows.h"

namespace baton {

enum class GatedUnit : uint8_t { kNone, kSwiglu, kGeglu };

struct FewRowsArgs {
  static constexpr int kMostLayers = 3;

  LinearArgs layers[kMostLayers];  // all columns of each; K and R are those of the first
  int count;
  // float32 rows [R, K] that are quantised here, after RMSNorm where there is a weight; layers then
  // do not look at xq. Null: the rows are the first layer's xq.
  const float* x;
  const float* norm;  // [K] or null
  float epsilon;
  // Of two layers with the same N and ldy: y of the first is act(first) * second. None accumulates.
  GatedUnit unit;
};

// Blocks of threads make the quants each for itself, so of more rows that is dear.
inline constexpr int kMostFusedRows = 4;

// False, and nothing is done, of what it does not take: more rows, layers that are `invariant` or
// have no panels, rows that do not begin at 16 bytes or are too long for shared memory.
bool fewRowsCuda(const FewRowsArgs& args);

}  // namespace baton
