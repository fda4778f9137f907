// SPDX-License-Identifier: Apache-2.0
// Tiles want sixteen rows; everything else is AVX-512's.
#include "kernels/linear/parts_avx512.h"
#include "kernels/variants.h"

namespace baton {

void linearAmx(const LinearArgs& args, int n0, int n1, void* scratch) {
  if (args.xq != nullptr && args.R >= 16) {
    linearInt8PanelsAmx(args, n0, n1, scratch);
  } else {
    linearAvx512(args, n0, n1, scratch);
  }
}

}  // namespace baton
