// SPDX-License-Identifier: Apache-2.0
// Choice of the path. int8 arithmetic has one for any number of rows; in float32, panels cost one
// dequantising and transposing of W per call and then run at full width, so that they pay from a
// few rows on.
#include "kernels/linear/parts_avx2.h"
#include "kernels/variants.h"

namespace baton {
namespace {

// Measured on Zen 3 with K = 576 and 1536: where the panel path overtakes the row path.
constexpr int kFewRows = 4;

}  // namespace

void linearAvx2(const LinearArgs& args, int n0, int n1, void* scratch) {
  if (args.xq != nullptr) {
    linearInt8PanelsAvx2(args, n0, n1, scratch);
  } else if (!args.invariant && args.R <= kFewRows) {
    linearFloatRowsAvx2(args, n0, n1);
  } else {
    linearFloatPanelsAvx2(args, n0, n1, scratch);
  }
}

}  // namespace baton
