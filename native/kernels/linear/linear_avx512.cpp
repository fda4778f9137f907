// SPDX-License-Identifier: Apache-2.0
// Choice of the path, as in linear_avx2.cpp. Few rows in float32 are bound by reading W, so AVX2's
// form serves; so it does for the integers of types that have no panels of their own here.
#include "kernels/linear/parts_avx2.h"
#include "kernels/linear/parts_avx512.h"
#include "kernels/variants.h"

namespace baton {
namespace {

constexpr int kFewRows = 4;

bool hasInt8Panels(DType type) {
  return type == DType::kQ8_0 || type == DType::kQ4_0 || type == DType::kQ4_1;
}

}  // namespace

void linearAvx512(const LinearArgs& args, int n0, int n1, void* scratch) {
  const bool fewRows = !args.invariant && args.R <= kFewRows;
  if (args.xq != nullptr) {
    if (!hasInt8Panels(args.type)) {
      linearAvx2(args, n0, n1, scratch);
    } else if (fewRows) {
      linearInt8RowsAvx512(args, n0, n1);
    } else {
      linearInt8PanelsAvx512(args, n0, n1, scratch);
    }
  } else if (fewRows) {
    linearFloatRowsAvx2(args, n0, n1);
  } else {
    linearFloatPanelsAvx512(args, n0, n1, scratch);
  }
}

}  // namespace baton
