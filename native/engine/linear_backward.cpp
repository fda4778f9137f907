// SPDX-License-Identifier: Apache-2.0
#include "engine/linear_backward.h"

#include <algorithm>

#include "base/trace.h"
#include "kernels/cost.h"

namespace baton {
namespace {

constexpr int kSliceRows = 64;  // fewer rows do not pay for dequantising a panel once more

// How a product is cut for the workers: columns of a panel, slices of the rows.
struct Cut {
  int columns, slices;
};

// The one that ends first, by what a kernel does for each item: rows times tiles of columns, a tile
// of weights made for so many rows as it costs, and dY made into its operand once for all tiles.
// Equal items that the workers do not share evenly cost the most.
Cut cutFor(int rows, int columns, int workers, bool bf16) {
  constexpr double kWeights = 14, kGradients = 0.15;
  const int held = bf16 ? kDLinearRowsBf16 : kDLinearRows;
  Cut best{kDLinearColumns, 1};
  double least = 0;
  for (int wide = kDLinearColumns; wide <= 4 * kDLinearColumns; wide += kDLinearColumns) {
    const int panels = (columns + wide - 1) / wide, tiles = wide / kDLinearTile;
    for (int slices = 1; slices <= std::max(1, rows / kSliceRows); ++slices) {
      const int each = (rows + slices - 1) / slices;
      const int unpacked = (each + held - 1) / held;
      const int turns = (panels * slices + workers - 1) / workers;
      const double time = turns * (tiles * (each + kWeights * unpacked) + kGradients * each);
      if (least != 0 && time >= least) continue;
      least = time;
      best = {wide, slices};
    }
  }
  return best;
}

}  // namespace

// Columns in panels, rows in slices.
void linearBackward(const char* name, const Ops& ops, ThreadPool& threads, Buffer& scratch,
                    const Weight& weight, const float* dy, float* dx, int rows, bool accumulate,
                    bool fast) {
  const DLinearArgs whole{.weight = weight.data,
                          .type = weight.type,
                          .N = weight.rows,
                          .K = weight.cols,
                          .dy = dy,
                          .ldy = weight.rows,
                          .dx = dx,
                          .ldx = weight.cols,
                          .R = rows,
                          .accumulate = accumulate,
                          .bf16 = fast && weight.type != DType::kF32 && weight.type != DType::kF16};
  const trace::Scope scope(name, [&] { return dLinearCost(whole); });
  const size_t bytes = (dLinearScratchBytes() + 63) / 64 * 64;
  scratch.ensure(bytes * static_cast<size_t>(threads.workers()));
  const Cut cut = cutFor(rows, weight.cols, threads.workers(), whole.bf16);
  const int columns = cut.columns, slices = cut.slices;
  const int panels = (weight.cols + columns - 1) / columns;
  threads.forEach(panels * slices, 1, [&](int begin, int end, int worker) {
    for (int item = begin; item < end; ++item) {
      const int from = rows * (item % slices) / slices;
      const int to = rows * (item % slices + 1) / slices;
      DLinearArgs args = whole;
      args.dy += static_cast<size_t>(from) * static_cast<size_t>(weight.rows);
      args.dx += static_cast<size_t>(from) * static_cast<size_t>(weight.cols);
      args.R = to - from;
      const int k0 = item / slices * columns;
      ops.dLinear(args, k0, std::min(k0 + columns, weight.cols),
                  scratch.as<std::byte>() + static_cast<size_t>(worker) * bytes);
    }
  });
}

}  // namespace baton
