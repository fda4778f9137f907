// SPDX-License-Identifier: Apache-2.0
// Choice of the path: panels cost one unpacking of W per call and then run at full width, so they
// pay from a few rows on.
#include "kernels/linear/parts_avx2.h"
#include "kernels/variants.h"

namespace baton {
namespace {

// Measured on Zen 3 with K = 576 and 1536: where the panel path overtakes the row path.
constexpr int kFewRowsInt8 = 4;
constexpr int kFewRowsFloat = 4;

}  // namespace

void linearAvx2(const LinearArgs& args, int n0, int n1, void* scratch) {
  if (args.xq != nullptr) {
    if (!args.invariant && args.R <= kFewRowsInt8) {
      linearInt8RowsAvx2(args, n0, n1);
    } else {
      linearInt8PanelsAvx2(args, n0, n1, scratch);
    }
  } else if (!args.invariant && args.R <= kFewRowsFloat) {
    linearFloatRowsAvx2(args, n0, n1);
  } else {
    linearFloatPanelsAvx2(args, n0, n1, scratch);
  }
}

}  // namespace baton
