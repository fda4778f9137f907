// SPDX-License-Identifier: Apache-2.0
// Choice of the path, as in linear_avx2.cpp. Few rows in float32 are bound by reading W, so AVX2's
// form serves.
#include "kernels/linear/parts_avx2.h"
#include "kernels/linear/parts_avx512.h"
#include "kernels/variants.h"

namespace baton {
namespace {

constexpr int kFewRows = 4;

}  // namespace

void linearAvx512(const LinearArgs& args, int n0, int n1, void* scratch) {
  if (args.xq != nullptr) {
    linearInt8PanelsAvx512(args, n0, n1, scratch);
  } else if (!args.invariant && args.R <= kFewRows) {
    linearFloatRowsAvx2(args, n0, n1);
  } else {
    linearFloatPanelsAvx512(args, n0, n1, scratch);
  }
}

}  // namespace baton
